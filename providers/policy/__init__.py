"""Pure decisions about routing: what a result means for each breaker.

Touch nothing here but values: no database, no network, no clock of its own.
"""
