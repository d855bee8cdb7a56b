"""The web process from SIGTERM to its end, and what it writes of a refusal."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from providers.models import Provider
from tests import fakes
from tests.api.conftest import Door
from tests.e2e.site import Site
from tests.polling import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def door(transactional_db: None, tmp_path: Path) -> Iterator[Door]:
    """A web process of this test's own, which takes its time to stop."""
    site = Site(tmp_path, STOP_PAUSE="4", STOP_DRAIN="60", GATEWAY_TOKEN="")
    site.start("web")
    try:
        site.wait_ready()
        yield Door(site, User.objects.create_superuser("alice"))
    finally:
        site.stop()


def listens(site: Site) -> bool:
    try:
        socket.create_connection(("127.0.0.1", site.port), timeout=5).close()
    except OSError:
        return False
    return True


def readiness(site: Site) -> str:
    return str(httpx.get(f"{site.url}/readyz", timeout=30).json()["status"])


def test_at_sigterm_it_is_not_ready_then_closed_and_open_answers_go_on(
    door: Door, fake: fakes.Upstream
) -> None:
    """A load balancer has time to leave, and no answer is lost."""
    acme: Provider = door.serve("slow-200-50", base_url=fake.url, routing_method="direct")
    began, answer = threading.Event(), bytearray()

    def read() -> None:
        body = {"model": f"{acme.slug}/slow-200-50", "stream": True}
        body |= {"messages": [{"role": "user", "content": "go"}]}
        with (
            door.raw() as client,
            client.stream("POST", "/chat/completions", json=body) as response,
        ):
            for chunk in response.iter_bytes():
                answer.extend(chunk)
                began.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert began.wait(60)
    web = door.site.parts["web"]
    web.send_signal(signal.SIGTERM)
    wait_until(lambda: readiness(door.site) == "stopping")
    assert reader.is_alive()
    wait_until(lambda: not listens(door.site))
    assert reader.is_alive(), "the listener closes before the answer has ended"
    reader.join(60)
    assert b"w199" in answer
    assert answer.rstrip().endswith(b"data: [DONE]")
    assert web.wait(60) == 0


def test_a_refusal_is_one_line_of_the_log(door: Door) -> None:
    """Who may not do something has met no failure of the program."""
    client = Client()
    client.force_login(User.objects.create_user("charlie"))
    cookies = {
        settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value,
    }
    refused = httpx.get(f"{door.site.url}/providers/new/", cookies=cookies, timeout=30)
    assert refused.status_code == 403
    wait_until(lambda: "Forbidden" in door.log())
    assert "Traceback" not in door.log()
