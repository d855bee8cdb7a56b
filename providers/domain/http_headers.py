"""The rules for header fields in one place: which can be set, carry a key, or are hidden. No I/O.

Names and values follow RFC 9110, section 5. A value is ASCII: servers differ on other bytes.
"""

import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# Set by the HTTP client itself, for each call.
_OWN_NAMES = frozenset({"host", "content-length", "transfer-encoding", "connection"})
# A header of these names is sent in place of the provider's key.
CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key"})
# A rate limit counts tokens, which are no secret. The last two show where a proxy's provider is.
_SECRET_NAME = re.compile(
    r"auth|key|token(?!s)|secret|cookie|session|password|credential|api[-_]base", re.I
)


def is_name(name: str) -> bool:
    """Whether HTTP allows this name."""
    return _NAME.fullmatch(name) is not None


def is_value(value: str) -> bool:
    """Whether HTTP allows this value, as far as all servers agree on it."""
    return _VALUE.fullmatch(value) is not None


def is_own(name: str) -> bool:
    """Whether the HTTP client sets this header itself, so that nobody else may."""
    return name.lower() in _OWN_NAMES


def is_secret(name: str) -> bool:
    """Whether the name shows that the value must be hidden."""
    return _SECRET_NAME.search(name) is not None


def merge(headers: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Headers with others that win, however the names are spelled."""
    names = {str(name).lower() for name in over}
    return {n: v for n, v in headers.items() if str(n).lower() not in names} | dict(over)
