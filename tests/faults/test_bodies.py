"""Senders that do not finish, at a real server: what they hold, and when they are ended."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from django.contrib.auth.models import User

from api.keys.lifecycle import issue_key
from tests.e2e.site import Site

MB = 2**20
TIMEOUT_SECONDS = 40.0  # seconds for a test's own socket; the server has 15
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(tmp_path: Path, owner: User) -> Iterator[Site]:
    site = Site(tmp_path, API_BODIES="96", API_LARGEST_BODY="32")
    site.start("web")
    try:
        site.wait_ready(60)
        yield site
    finally:
        site.stop()


@pytest.fixture
def secret(owner: User) -> str:
    return issue_key(owner, "tests")[1]


def head(path: str, secret: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
    lines.append(f"Authorization: Bearer {secret}")
    return "\r\n".join([*lines, "", ""]).encode()


def connect(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=TIMEOUT_SECONDS)


def answer(plain: socket.socket) -> bytes:
    """The first line of what comes; empty where the server just closed."""
    with suppress(ConnectionError):
        return plain.recv(65536).partition(b"\r\n")[0]
    return b""


def memory(site: Site) -> int:
    """Resident bytes of the web process and its worker."""
    found = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            text = status.read_text()
            if f"NSpgid:\t{site.parts['web'].pid}\n" in text:
                found += int(text.split("VmRSS:")[1].split()[0]) * 1024
    return found


PLACES = ["/v1/chat/completions", "/sign-in/"]
BROKEN = [
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\nzz\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"-1\r\n\r\n",
]


@pytest.mark.parametrize("path", PLACES)
def test_broken_chunks_are_a_bad_request(site: Site, secret: str, path: str) -> None:
    """Neither waited for nor a mistake of ours."""
    for chunks in BROKEN:
        with connect(site) as plain:
            plain.sendall(head(path, secret, "Transfer-Encoding: chunked") + chunks)
            assert b" 400 " in answer(plain), chunks
    assert "Traceback" not in (site.logs / "web.log").read_text()


def trickle(site: Site, begun: bytes, more: bytes) -> bytes:
    """Sends a beginning, then a piece every half second, until the server says or closes."""
    with connect(site) as plain:
        plain.sendall(begun)
        plain.settimeout(0.5)
        until = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < until:
            try:
                if more:
                    plain.sendall(more)
                return plain.recv(4096).partition(b"\r\n")[0]
            except TimeoutError:
                continue
            except ConnectionError:
                return b""
    return b"never ended"


def test_headers_and_bodies_that_do_not_come_are_ended(site: Site, secret: str) -> None:
    """Silent ones, and those that send just enough not to be silent."""
    begun = [b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"]
    begun += [head(path, secret, "Content-Length: 100000") for path in PLACES]
    tries = [(each, more) for each in begun for more in (b"", b"x")]
    with ThreadPoolExecutor(len(tries)) as threads:
        found = list(threads.map(lambda each: trickle(site, *each), tries))
    assert found[:2] == [b"", b""]
    assert all(b" 408 " in each for each in found[2:]), found


def test_unfinished_bodies_hold_no_more_than_their_budget(site: Site, secret: str) -> None:
    """Twenty of 30 MB held a gigabyte; a short question is answered all the same."""
    before = memory(site)
    assert before > 50 * MB
    with ExitStack() as opened:
        senders = [opened.enter_context(connect(site)) for _ in range(20)]
        begun = head("/v1/chat/completions", secret, f"Content-Length: {30 * MB}")

        def send(plain: socket.socket) -> None:
            with suppress(OSError):
                plain.sendall(begun)
                for _ in range(29):
                    plain.sendall(b" " * MB)

        with ThreadPoolExecutor(len(senders)) as threads:
            list(threads.map(send, senders))
        held = memory(site) - before
        assert held < 250 * MB
        headers = {"Authorization": f"Bearer {secret}"}
        short = {"model": "none", "messages": [{"role": "user", "content": "Hello"}]}
        url = f"{site.url}/v1/chat/completions"
        # Read, and no model of that name.
        assert httpx.post(url, json=short, headers=headers, timeout=20).status_code == 404
        assert httpx.get(f"{site.url}/sign-in/", timeout=20).status_code == 200
