"""The pages of providers, models, gateways, activity and settings.

A view reads storage, calls one operation and renders; it never waits for a provider, except a test,
which streams.
"""
