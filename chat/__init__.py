"""Conversations, the runner that answers them, and their pages."""
