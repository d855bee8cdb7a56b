"""Client keys: `lifecycle` issues, rotates and revokes them, `lookup` finds who sent a request, and
`permissions` decides which models they may use, and `enforcement` keeps them to their limits.
"""
