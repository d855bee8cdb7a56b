"""What `./dev` runs: install, start, watch, stop and test the program. No domain."""
