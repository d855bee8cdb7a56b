"""Wire formats as pure functions: bytes and JSON in, values out, and back. No I/O.

Nothing here knows a row, a session or a clock.
"""
