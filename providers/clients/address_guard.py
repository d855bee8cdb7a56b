"""Which addresses a call may go to, checked on each socket after DNS, just before it is connected.

So no name, redirect or second look-up leads around the check: what is connected to is what was
checked.
"""

import socket
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from providers.clients.http_errors import AddressForbidden
from providers.domain import ip_addresses


def guarded_socket(address: tuple[Any, ...], url: str) -> socket.socket:
    """The socket for one resolved address of `url`. Raises AddressForbidden."""
    family, kind, protocol, _, where = address
    if not is_allowed(where[0], private=_is_set_by_operator(url)):
        raise AddressForbidden
    return socket.socket(family, kind, protocol)


def _is_set_by_operator(url: str) -> bool:
    """Whether the instance's settings name the server: the gateway process, its LiteLLM."""
    named = filter(None, (settings.GATEWAY_URL, settings.LITELLM_ENDPOINT))
    return urlsplit(url).netloc in {urlsplit(each).netloc for each in named}


def is_allowed(address: str, *, private: bool = False) -> bool:
    """Link-local addresses and cloud metadata never; private ones where the settings allow them, or
    where `private` says that this one is wanted."""
    reached = ip_addresses.parse(address)
    if any(map(ip_addresses.is_never_called, reached)):
        return False
    return private or settings.ALLOW_PRIVATE_ADDRESSES or all(ip.is_global for ip in reached)
