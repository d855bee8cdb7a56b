"""PostgreSQL, Redis, metrics, encryption and the type of a page request, for the whole program.

Nothing here knows what a provider or a route is.
"""
