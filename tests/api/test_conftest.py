"""The fixtures of the doors keep their tests apart, in whatever order they run."""

import pytest

from providers.models import Provider
from tests import fakes
from tests.api.conftest import Door


@pytest.mark.parametrize("time", [1, 2])
def test_no_test_meets_the_cooldown_of_an_earlier_ones_key(
    door: Door, acme: Provider, fake: fakes.Upstream, time: int
) -> None:
    """Each begins with a key that answers, and leaves it limited."""
    body = {"model": "acme/echo", "messages": [{"role": "user", "content": "Hello"}]}
    with door.raw() as client:
        assert client.post("/chat/completions", json=body).status_code == 200
        fake.script("429")
        assert client.post("/chat/completions", json=body).status_code == 429
