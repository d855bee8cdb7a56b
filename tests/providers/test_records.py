"""Where a call goes, and with which key."""

from collections.abc import Callable

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from providers import targets
from providers.models import Provider
from providers.types import Kind, Method

OURS, THEIRS = "http://litellm.example:4000", "http://other.example:4000"


@pytest.mark.parametrize(
    ("endpoint", "own_key", "where", "key"),
    [
        ("", "", OURS, "sk-instance"),
        (OURS, "", OURS, "sk-instance"),
        (THEIRS, "", THEIRS, ""),
        (THEIRS, "sk-theirs", THEIRS, "sk-theirs"),
    ],
)
def test_the_instances_key_goes_to_the_instances_endpoint_alone(
    settings: Settings, endpoint: str, own_key: str, where: str, key: str
) -> None:
    """An endpoint that somebody typed gets the key that was typed with it, or none."""
    settings.LITELLM_ENDPOINT, settings.LITELLM_API_KEY = OURS, "sk-instance"
    reached = targets.Connection(
        preset="custom",
        kind=Kind.OPENAI,
        base_url="http://provider.example/v1",
        gateway_endpoint=endpoint,
        gateway_api_key=own_key,
    )
    target = targets.target(reached, Method.GATEWAY, "m")
    assert (target.base_url, target.api_key) == (where, key)


def test_routes_that_are_as_they_should_be_cost_two_queries(
    make_provider: Callable[..., Provider], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """They are asked for before every call; only a changed endpoint writes."""
    provider = make_provider()
    with django_assert_num_queries(2):
        assert {route.method for route in provider.ensure_routes()} == {"direct", "gateway"}
    provider.gateway_endpoint = THEIRS
    assert {route.endpoint for route in provider.ensure_routes()} == {"", THEIRS}
    assert provider.routes.count() == 2
