"""Which addresses a call may go to. Real sockets are tested in `test_http`."""

import pytest
from pytest_django import Settings

from providers.clients.address_guard import is_allowed


@pytest.mark.parametrize(
    ("address", "private", "allowed"),
    [
        ("8.8.8.8", False, True),
        ("2606:4700::1111", False, True),
        ("127.0.0.1", True, True),
        ("127.0.0.1", False, False),
        ("10.1.2.3", False, False),
        ("192.168.1.1", True, True),
        ("100.64.0.1", False, False),
        ("::1", False, False),
        ("fd00::1", False, False),
        ("::ffff:10.0.0.1", False, False),
        ("0.0.0.0", False, False),  # noqa: S104
        ("169.254.169.254", True, False),
        ("::ffff:169.254.169.254", True, False),
        ("64:ff9b::169.254.169.254", True, False),
        ("fd00:ec2::254", True, False),
        ("100.100.100.200", True, False),
        ("fe80::1", True, False),
        ("fe80::1%eth0", True, False),
        ("224.0.0.1", True, False),
    ],
)
def test_the_guard_knows_forbidden_addresses(
    settings: Settings, address: str, private: bool, allowed: bool
) -> None:
    """Link-local and the clouds' metadata never, private ones where the settings say so."""
    settings.ALLOW_PRIVATE_ADDRESSES = private
    assert is_allowed(address) is allowed
