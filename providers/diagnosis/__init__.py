"""Why a call failed, in words with a fix, and what pages say of routes. Pure: no I/O.

Use `diagnose` for a failed call and `trace` for a request.
"""
