"""The door by its plain HTTP: who is let in, what is where, and what malformed requests get."""

import contextlib
import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from django.conf import settings
from django.utils import timezone

from api.keys.lifecycle import issue_key, revoke_keys
from api.models import ClientKey
from providers.models import LanguageModel, Provider
from providers.operations import lifecycle
from tests import fakes
from tests.api.conftest import Door
from tests.polling import wait_until

HELLO = {"model": "acme/echo", "messages": [{"role": "user", "content": "Hello there"}]}


def error(answer: httpx.Response) -> dict[str, object]:
    """The error of an answer, which has OpenAI's shape whatever happened."""
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, object] = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= set(found)
    assert answer.headers["x-request-id"]
    return found


# Who is let in


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "Bearer ocw-wrong"])
@pytest.mark.parametrize("path", ["/models", "/models/x", "/chat/completions"])
def test_requires_a_valid_key(door: Door, path: str, header: str) -> None:
    """Never a sign-in page: a client could not use one."""
    method = "POST" if path.startswith("/chat") else "GET"
    headers = {"Authorization": header} if header else {}
    answer = httpx.request(method, f"{door.url}{path}", headers=headers, json=HELLO)
    assert answer.status_code == 401
    assert error(answer)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_session_is_not_a_key(door: Door) -> None:
    """Browsers of other sites would bring it along."""
    answer = httpx.get(f"{door.url}/models", cookies={"sessionid": "x"})
    assert answer.status_code == 401


def test_a_new_model_is_known_at_once(door: Door) -> None:
    """Though nobody announced it: what is missing is looked for before it is refused."""
    with door.raw() as client:
        assert client.get("/models").json()["data"] == []
        (provider,) = Provider.objects.bulk_create([Provider(slug="new", name="New")])
        rows = [LanguageModel(provider=provider, model_id="m", name="m")]
        LanguageModel.objects.bulk_create(rows)
        assert client.get("/models/new/m").status_code == 200


def test_a_key_is_revoked_everywhere_within_two_seconds(door: Door) -> None:
    """The door hears of it; it does not ask."""
    with door.raw() as client:
        assert client.get("/models").status_code == 200
        revoke_keys([door.key.pk])
        wait_until(lambda: client.get("/models").status_code == 401, seconds=2)


def test_a_deleted_owners_key_stops_working(door: Door) -> None:
    """Who may not sign in may not call either."""
    door.user.is_active = False
    door.user.save()
    with door.raw() as client:
        wait_until(lambda: client.get("/models").status_code == 401, seconds=2)


def test_an_expired_key_is_401(door: Door) -> None:
    """From that very moment on."""
    _, secret = issue_key(door.user, "short", timezone.now())
    answer = httpx.get(f"{door.url}/models", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401


def test_records_the_last_use(door: Door) -> None:
    """A moment later, and not again within the minute."""
    with door.raw() as client:
        client.get("/models")
        wait_until(lambda: ClientKey.objects.get(pk=door.key.pk).last_used_at)
        noted = ClientKey.objects.get(pk=door.key.pk).last_used_at
        client.get("/models")
    assert ClientKey.objects.get(pk=door.key.pk).last_used_at == noted


# What is where


def test_models_are_those_in_use(door: Door, acme: Provider) -> None:
    """By provider and name, and by alias; nothing that is switched off or away."""
    served = acme.language_models.get()
    LanguageModel.objects.create(provider=acme, model_id="off", name="off", enabled=False)
    LanguageModel.objects.create(provider=acme, model_id="org/big", name="big", alias="best")
    paused = Provider.objects.create(name="P", slug="p", base_url=acme.base_url, enabled=False)
    LanguageModel.objects.create(provider=paused, model_id="m", name="m")
    gone = Provider.objects.create(name="G", slug="g", base_url=acme.base_url)
    LanguageModel.objects.create(provider=gone, model_id="m", name="m")
    lifecycle.remove(gone)
    LanguageModel.objects.create(
        provider=acme, model_id="missing", name="missing", missing_since=timezone.now()
    )
    wait_until(lambda: "best" in door.models())
    assert sorted(door.models()) == ["acme/echo", "acme/org/big", "best"]
    with door.raw() as client:
        row = client.get("/models/acme/echo").json()
        named = client.get("/models/acme%2Forg%2Fbig").json()
    assert row == {
        "id": "acme/echo",
        "object": "model",
        "created": int(served.first_seen.timestamp()),
        "owned_by": "acme",
        "name": "echo",
    }
    assert named["id"] == "acme/org/big"


@pytest.mark.parametrize("path", ["/models/", "//models", "/models/acme/echo/"])
def test_ignores_extra_slashes(door: Door, acme: Provider, path: str) -> None:
    """Clients join base URLs and paths in every way."""
    headers = {"Authorization": f"Bearer {door.secret}"}
    assert httpx.get(f"{door.url}{path}", headers=headers).status_code == 200


def test_head_has_the_headers_alone(door: Door, acme: Provider) -> None:
    """Some clients look with it whether somebody is there."""
    with door.raw() as client:
        whole, head = client.get("/models"), client.head("/models")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(whole.content))


def test_accepts_a_key_in_x_api_key(door: Door, acme: Provider) -> None:
    """A wrong one is refused all the same."""
    for secret, status in ((door.secret, 200), ("ocw-wrong", 401), ("", 401)):
        answer = httpx.get(f"{door.url}/models", headers={"x-api-key": secret})
        assert answer.status_code == status


def test_an_unknown_model_suggests_similar_names(door: Door, acme: Provider) -> None:
    """A slip of the pen is seen at once."""
    with door.raw() as client:
        asked = client.get("/models/acme/ecco")
        posted = client.post("/chat/completions", json=HELLO | {"model": "ehco"})
    for answer in (asked, posted):
        assert answer.status_code == 404
        assert error(answer)["code"] == "model_not_found"
        assert "`acme/echo`" in str(error(answer)["message"])


def test_a_name_of_several_providers_lists_them(
    door: Door, acme: Provider, fake: fakes.Upstream
) -> None:
    """A plain name works only where it is unique."""
    with door.raw() as client:
        assert client.post("/chat/completions", json=HELLO | {"model": "echo"}).is_success
        door.serve("echo", name="Beta", slug="beta", base_url=fake.url)
        answer = client.post("/chat/completions", json=HELLO | {"model": "echo"})
    assert answer.status_code == 400
    assert error(answer)["code"] == "model_ambiguous"
    assert "`acme/echo`, `beta/echo`" in str(error(answer)["message"])


def test_an_alias_means_its_model(door: Door, acme: Provider, fake: fakes.Upstream) -> None:
    """The answer names the one that ran."""
    LanguageModel.objects.create(provider=acme, model_id="tiny-2", name="t", alias="fast")
    wait_until(lambda: "fast" in door.models())
    with door.raw() as client:
        answer = client.post("/chat/completions", json=HELLO | {"model": "fast"})
    assert answer.json()["model"] == "tiny-2"
    assert fake.requests[-1].model == "tiny-2"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("GET", "/", 404),
        ("POST", "/edits", 404),
        ("HEAD", "/nothing", 404),
        ("HEAD", "/chat/completions/", 405),
        ("GET", "/chat/completions", 405),
        ("OPTIONS", "/chat/completions", 405),
        ("DELETE", "/models", 405),
    ],
)
def test_everything_below_v1_answers_json(door: Door, method: str, path: str, status: int) -> None:
    """No page of the site is in a client's way, and no CORS header lets browsers in."""
    headers = {"Origin": "https://evil.example", "Authorization": f"Bearer {door.secret}"}
    answer = httpx.request(method, f"{door.url}{path}", headers=headers)
    assert answer.status_code == status
    assert answer.content == b"" if method == "HEAD" else error(answer)
    assert ("allow" in answer.headers) == (status == 405)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_site_is_where_it_was(door: Door) -> None:
    """/v1 alone is ours; /v1x is not."""
    assert httpx.get(f"{door.site.url}/v1x").headers["content-type"].startswith("text/html")
    assert httpx.get(f"{door.site.url}/healthz").status_code == 200


# Ids


def test_returns_the_clients_request_id(door: Door) -> None:
    """If it is valid in a header."""
    with door.raw() as client:
        plain = client.get("/models")
        mine = client.get("/models", headers={"X-Request-ID": "trace-7"})
        odd = client.get("/models", headers={"X-Request-ID": "x" * 500})
    assert mine.headers["x-client-request-id"] == "trace-7"
    assert mine.headers["x-request-id"] != plain.headers["x-request-id"]
    assert "x-client-request-id" not in odd.headers


# Malformed requests


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"{", None), (b"\xff", None), (json.dumps(HELLO | {"stream": "no"}).encode(), "stream")],
)
def test_an_invalid_body_is_explained(door: Door, body: bytes, param: str | None) -> None:
    """400, with the field where it is one."""
    with door.raw() as client:
        answer = client.post("/chat/completions", content=body)
    assert answer.status_code == 400
    assert error(answer)["param"] == param


@contextlib.contextmanager
def connected(door: Door) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", door.site.port), timeout=5) as plain:
        yield plain


def head(door: Door, *headers: str) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", *headers]
    lines.append(f"Authorization: Bearer {door.secret}")
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_body_that_is_too_large_is_refused_unread(door: Door) -> None:
    """By what it says of itself."""
    with connected(door) as plain:
        plain.sendall(head(door, f"Content-Length: {settings.API_LARGEST_BODY + 1}"))
        assert plain.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_grows_too_large_is_refused(door: Door) -> None:
    """Where it said nothing of itself."""
    piece = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    with connected(door) as plain:
        plain.sendall(head(door, "Transfer-Encoding: chunked"))
        with contextlib.suppress(OSError):
            for _ in range(settings.API_LARGEST_BODY // 2**20 + 1):
                plain.sendall(piece)
            plain.sendall(b"0\r\n\r\n")
        assert plain.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_sender_who_leaves_in_mid_body_leaves_nothing_behind(door: Door) -> None:
    """No error in the log, and the next request is served."""
    before = len(door.log())
    with connected(door) as plain:
        plain.sendall(head(door, "Content-Length: 1000") + b'{"model"')
    with door.raw() as client:
        assert client.get("/models").status_code == 200
    assert "Traceback" not in door.log()[before:]


def test_refuses_invalid_http(door: Door) -> None:
    """By the server, before anything of ours."""
    with connected(door) as plain:
        plain.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert plain.recv(4096)[:12] in (b"", b"HTTP/1.1 400")
