"""The connection test: each stage of a call on its own, over both methods, with the form's values.

Use `runner.run`; calls go through the clients that requests use.
"""
