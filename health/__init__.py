"""Health: scheduled checks, incidents, the status page, `/healthz` and `/readyz`.

Reads the rows of `providers` and decides nothing about routing.
"""
