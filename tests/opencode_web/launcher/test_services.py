"""Where the site listens, and the variables made from that."""

import socket

import pytest

from opencode_web.launcher.home import CannotStart
from opencode_web.launcher.services import Address, require_free, site_variables


@pytest.mark.parametrize(
    ("host", "url", "numeric"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000", "127.0.0.1"),
        ("localhost", "http://localhost:8000", "127.0.0.1"),
        ("::1", "http://[::1]:8000", "::1"),
    ],
)
def test_the_address_is_shown_as_it_was_given_and_bound_as_a_number(
    host: str, url: str, numeric: str
) -> None:
    """The server takes no names."""
    address = Address(host=host, port=8000)
    assert address.url == url
    assert address.numeric == numeric


def test_a_site_that_listens_everywhere_answers_to_this_machines_names() -> None:
    """Others open it under its name or its address in the network."""
    address = Address(host="0.0.0.0", port=8000)  # noqa: S104
    assert address.local == "127.0.0.1"
    assert "0.0.0.0" not in address.url  # noqa: S104
    assert {"localhost", "127.0.0.1", "[::1]", socket.gethostname()} <= {
        *address.allowed_hosts.split(",")
    }


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_a_sentence(host: str) -> None:
    """Nothing is started that could not listen."""
    with pytest.raises(CannotStart, match=host):
        require_free(Address(host=host, port=8000))


def test_each_start_has_a_gateway_token_of_its_own() -> None:
    """What one run's gateway accepts, the next one's does not."""
    address = Address(host="127.0.0.1", port=8000)
    first, second = site_variables(address), site_variables(address)
    assert first["GATEWAY_TOKEN"] != second["GATEWAY_TOKEN"]
    assert first["GATEWAY_URL"].startswith("http://127.0.0.1:")
