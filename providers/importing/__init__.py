"""Imports providers from configuration files: read a file, plan its changes, apply them.

Only `apply` and `stored` touch the database; nothing here touches the network.
"""
