"""Probes: synthetic calls that keep health up to date between requests.

A probe uses the route table and the clients of a request.
"""
