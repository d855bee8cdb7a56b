"""Decisions as pure functions: which routes to take, when a breaker opens, what health follows.

Every decision is a table or a function of its arguments, `now` included. No I/O.
"""
