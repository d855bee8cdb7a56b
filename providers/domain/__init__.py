"""The words of the program as values: errors, requests, events, usage. It imports no other package.

Anything may be used from anywhere.
"""
