"""Operations on providers (order, pause, removal) and their records: audit and activity.

Callers write the audit event in the transaction of the change.
"""
