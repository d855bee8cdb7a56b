"""`@value`: what is never changed once it is made, and equal to another of the same content.

That nobody changes one is shown by the type checker, which sees every use; the class that runs is
an ordinary one with slots. Python's own frozen dataclass guards each field as it is set, which
makes making one four times as dear, and a request makes about twenty.
"""

from dataclasses import dataclass, field
from typing import dataclass_transform


@dataclass_transform(
    eq_default=True, frozen_default=True, kw_only_default=True, field_specifiers=(field,)
)
def value[Class](cls: type[Class]) -> type[Class]:
    """A dataclass of named fields that is frozen for the type checker."""
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)
