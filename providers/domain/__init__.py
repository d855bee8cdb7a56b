"""The values and errors that every package uses: requests, events, usage, targets, addresses.

Any package may import from here; this one imports no other.
"""
