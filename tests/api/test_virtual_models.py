"""A virtual model at the API: listed, requested and answered like any other model."""

from typing import Any

import httpx

from providers.models import Provider, VirtualMember, VirtualModel
from tests import fakes
from tests.api.conftest import Door
from tests.polling import wait_until

HELLO = {"messages": [{"role": "user", "content": "Hello there"}]}


def serve(door: Door, *providers: Provider, **fields: str) -> VirtualModel:
    """The virtual model `fast` of these providers' models, as soon as the door knows it."""
    virtual = VirtualModel.objects.create(name="fast", **fields)
    for position, provider in enumerate(providers):
        model = provider.language_models.get()
        VirtualMember.objects.create(virtual_model=virtual, model=model, position=position)
    wait_until(lambda: "fast" in door.models())
    return virtual


def two(door: Door, first: str, second: str) -> tuple[Provider, Provider]:
    """Two accounts at two addresses, each with the model `echo`."""
    fields = {"routing_method": "direct", "fallback_enabled": False}
    return (
        door.serve("echo", base_url=first, **fields),
        door.serve("echo", base_url=second, slug="beta", name="Beta", **fields),
    )


def complete(door: Door, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"model": "fast", **HELLO, **fields}
    with door.raw() as client:
        return client.post("/chat/completions", json=body, headers=headers)


def test_it_is_listed_with_its_members(door: Door, acme: Provider) -> None:
    """Before the models of providers, under its own name, and found by it."""
    serve(door, acme, strategy="cheapest")
    with door.raw() as client:
        listed, alone = client.get("/models").json()["data"], client.get("/models/fast").json()
    assert [row["id"] for row in listed] == ["fast", "acme/echo"]
    assert (alone["owned_by"], alone["strategy"], alone["members"]) == (
        "virtual",
        "cheapest",
        ["acme/echo"],
    )


def test_the_answer_names_the_member(door: Door, fake: fakes.Upstream) -> None:
    """The first one that can answer, and why it was not the one before it."""
    serve(door, *two(door, "http://127.0.0.1:9/v1", fake.url))
    answer = complete(door)
    assert answer.status_code == 200
    assert (answer.headers["x-model"], answer.headers["x-route"]) == ("beta/echo", "beta/direct")
    assert (
        "beta/echo answers for fast; acme/echo: direct failed" in (answer.headers["x-route-reason"])
    )


def test_a_session_stays_with_its_member(door: Door, fake: fakes.Upstream) -> None:
    """Named by a header or a field; a new one is drawn by weight."""
    second = fake.url.replace("127.0.0.1", "localhost")
    serve(door, *two(door, fake.url, second), strategy="weighted")

    def member(kind: str, name: str) -> object:
        sent: dict[str, Any] = {"headers": {kind: name}} if kind.startswith("x-") else {kind: name}
        return complete(door, **sent).headers["x-model"]

    for kind in ("x-session-affinity", "x-session-id", "prompt_cache_key", "user"):
        members = {name: member(kind, name) for name in map(str, range(8))}
        assert members == {name: member(kind, name) for name in members}


def test_a_request_that_no_member_can_take_is_a_400(door: Door, acme: Provider) -> None:
    """With the reason of each."""
    acme.language_models.update(tools=False, sources={"tools": "manual"})
    serve(door, acme)
    answer = complete(door, tools=[{"type": "function", "function": {"name": "f"}}])
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "no_member_fits"
    assert "acme/echo: it calls no tools" in error["message"]
