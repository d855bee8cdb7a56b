"""Explain failed calls with a cause and a fix, and describe routes for pages. Pure: no I/O.

Use `diagnose` for a failed call and `trace` for a request.
"""
