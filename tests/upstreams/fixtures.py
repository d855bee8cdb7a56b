"""Session-wide upstreams, as fixtures."""

from collections.abc import Iterator

import pytest

from tests import fakes


@pytest.fixture(scope="session")
def _fake_upstream() -> Iterator[fakes.Upstream]:
    with fakes.Upstream() as upstream:
        yield upstream


@pytest.fixture
def fake(_fake_upstream: fakes.Upstream) -> fakes.Upstream:
    """The fake upstream, with a clean slate."""
    _fake_upstream.reset()
    return _fake_upstream
