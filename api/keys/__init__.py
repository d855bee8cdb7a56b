"""Client keys: `lifecycle` issues and revokes them, `lookup` finds the caller of a request."""
