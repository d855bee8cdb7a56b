"""`/v1` for programs: a package for each door, client keys, and what the doors share.

A door is a package with an `endpoint` and a line in `app.DOORS`; its wire format is a module of
`providers.protocols`. Doors do not import one another.
"""
