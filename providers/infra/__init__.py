"""PostgreSQL, Redis, metrics and encryption, as the rest of the program uses them.

Nothing here knows what a provider or a route is.
"""
