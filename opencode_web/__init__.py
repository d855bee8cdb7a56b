"""The project: settings, addresses, the processes and the commands that run them. No domain."""

__version__ = "0.2.0"
