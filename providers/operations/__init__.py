"""What operators do with whole providers and see of them: order, pause, removal, cards, audit.

Each change writes its audit event.
"""
