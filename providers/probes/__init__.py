"""Synthetic calls that keep health true: which are due, and how one is made.

A probe takes the same route table and the same clients as a request.
"""
