"""A request as a program sends it, and a second web process."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.site import Site

HELLO = {"model": "acme/echo", "messages": [{"role": "user", "content": "Hello"}]}


def post(url: str, secret: str, **body: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.post(f"{url}/v1/chat/completions", json=body or HELLO, headers=headers, timeout=20)


@pytest.fixture
def other_web(tmp_path: Path, running_web: Site) -> Iterator[Site]:
    """A second web process beside the door's."""
    site = Site(tmp_path, GATEWAY_TOKEN="", REDIS_PATIENCE="2")
    site.start("web")
    site.wait_ready()
    yield site
    site.stop()
