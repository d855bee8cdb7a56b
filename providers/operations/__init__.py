"""What operators do with whole providers, and the record of it: order, pause, removal, audit.

Each change writes its audit event.
"""
