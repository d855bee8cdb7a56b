"""Providers from other programs' configurations: read a file, plan what it changes, apply it."""
