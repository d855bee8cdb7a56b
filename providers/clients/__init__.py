"""Calls to providers and gateways over the network. No rows: a client takes a target's values.

Use `direct` and `gateway`; `http` is the one HTTP session below both.
"""
