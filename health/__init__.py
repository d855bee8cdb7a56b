"""The observer: which checks are due, the status page, liveness."""
