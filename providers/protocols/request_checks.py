"""Check the fields of a request's body, and name the one that is wrong. No I/O.

What is checked is the shape that a translation reads; whether a value is sensible is for the
provider to judge.
"""

from typing import Any

from providers.domain.types import Json


class InvalidRequest(Exception):
    """A field of the body is not what its format allows; `param` is its path."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def require_object(value: object, param: str) -> dict[str, Any]:
    """Raises InvalidRequest where the value is no object."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{param}` must be an object.", param)
    return value


def require_string(value: object, param: str) -> str:
    """Raises InvalidRequest where the value is no text."""
    if not isinstance(value, str):
        raise InvalidRequest(f"`{param}` must be a string.", param)
    return value


def require_list(value: object, param: str) -> list[Any]:
    """Raises InvalidRequest where the value is no list, or an empty one."""
    if not isinstance(value, list) or not value:
        raise InvalidRequest(f"`{param}` must be an array of at least one item.", param)
    return value


def list_objects(value: object, param: str) -> list[Json]:
    """The objects of an optional list. Raises InvalidRequest for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(f"`{param}` must be an array.", param)
    return [require_object(item, f"{param}[{place}]") for place, item in enumerate(value)]


def require_positive(value: object, param: str) -> int:
    """Raises InvalidRequest where the value is no whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequest(f"`{param}` must be a whole number of at least 1.", param)
    return value
