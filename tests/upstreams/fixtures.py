"""Session-wide upstreams, as fixtures: fake, real model, real LiteLLM proxy, gateway process."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests import fakes
from tests.polling import wait_until
from tests.programs import PYTHON
from tests.upstreams.behaviours import CATALOGUE
from tests.upstreams.faults import FAULTS
from tests.upstreams.litellm_proxy import Proxy
from tests.upstreams.model_server import ModelServer, missing
from tests.upstreams.tethered import tethered

NOWHERE = "nowhere"
"""A model of the proxy's whose upstream refuses connections."""


DESCRIBED = "gpt-4o-mini"
"""A model of the proxy's of which LiteLLM itself knows limits and prices."""


def free_port() -> int:
    with fakes.bound() as probe:
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayProcess:
    """The gateway process: where it answers and what it wants to be shown."""

    url: str
    token: str


@pytest.fixture(scope="session")
def gateway_process() -> Iterator[GatewayProcess]:
    """`manage.py gateway`, from the moment when LiteLLM is imported."""
    made = GatewayProcess(url=f"http://127.0.0.1:{free_port()}", token="gateway-test-token-012345")
    process = subprocess.Popen(
        tethered([PYTHON, "manage.py", "gateway"]),
        env={**os.environ, "GATEWAY_URL": made.url, "GATEWAY_TOKEN": made.token},
        start_new_session=True,
    )
    try:
        wait_until(lambda: _is_ready(made) or process.poll() is not None, 180)
        yield made
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(process: GatewayProcess) -> bool:
    try:
        answer = httpx.get(f"{process.url}/healthz", timeout=1, trust_env=False)
    except httpx.TransportError:
        return False
    return bool(answer.json()["status"] == "ready")


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
    # How the fake behaves follows from the name, so more than it lists are served too.
    names = (*CATALOGUE, *FAULTS, "sixty", "no-done", "late-100", "slow-500-20")
    names += tuple(f"once-{fault}" for fault in FAULTS)
    names += (DESCRIBED,)
    models = dict.fromkeys(names, (_fake_upstream.url, fakes.KEY))
    models[model_server.model] = (model_server.url, model_server.key)
    models[NOWHERE] = (f"http://127.0.0.1:{fakes.refusing_port()}/v1", "none")
    with Proxy(free_port(), tmp_path_factory.mktemp("proxy"), models) as proxy:
        yield proxy
