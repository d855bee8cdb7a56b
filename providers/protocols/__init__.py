"""Formats as pure functions: bytes and JSON in, values out, and back. Nothing here does I/O."""
