"""What the program costs, beside what it is compared with, measured in one run each.

`./dev run python -m benchmarks.NAME`; docs/benchmarks.md has the results. All servers are on
loopback and end with the run. Figures are CPU seconds of a process where they can be: a busy
machine changes those less than it changes times.
"""
