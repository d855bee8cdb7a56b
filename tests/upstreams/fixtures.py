"""Session-wide upstreams, as fixtures: the fake, a real model, a real LiteLLM proxy."""

from collections.abc import Iterator

import pytest

from tests import fakes
from tests.upstreams.behaviours import CATALOGUE
from tests.upstreams.litellm_proxy import Proxy
from tests.upstreams.model_server import ModelServer, missing

NOWHERE = "nowhere"
"""A model of the proxy's whose upstream refuses connections."""


def free_port() -> int:
    with fakes.bound() as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def _fake_upstream() -> Iterator[fakes.Upstream]:
    with fakes.Upstream() as upstream:
        yield upstream


@pytest.fixture
def fake(_fake_upstream: fakes.Upstream) -> fakes.Upstream:
    """The fake upstream, with a clean slate."""
    _fake_upstream.reset()
    return _fake_upstream


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """A real language model."""
    if lacking := missing():
        pytest.skip(f"a real model needs {lacking}: see requirements-dev.in")
    with ModelServer(free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def litellm_proxy(
    tmp_path_factory: pytest.TempPathFactory,
    _fake_upstream: fakes.Upstream,
    model_server: ModelServer,
) -> Iterator[Proxy]:
    """A real proxy in front of the real model, of the fake, and of a port that refuses."""
    # How the fake behaves follows from the name, so one more than it lists is served too.
    models = dict.fromkeys((*CATALOGUE, "slow-500-20"), (_fake_upstream.url, fakes.KEY))
    models[model_server.model] = (model_server.url, model_server.key)
    models[NOWHERE] = (f"http://127.0.0.1:{fakes.refusing_port()}/v1", "none")
    with Proxy(free_port(), tmp_path_factory.mktemp("proxy"), models) as proxy:
        yield proxy
