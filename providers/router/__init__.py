"""One request over a provider's routes: plan, try, record. Use `router.stream` and `router.reads`.

`route_table` holds what this process knows of the routes; rows are written in batches.
"""
