"""Template filters of the providers and status pages."""
