"""Over `/v1` of a running web process: one model, one key, one prompt, and everybody else."""

import httpx

from tests import fakes
from tests.api.conftest import Door
from tests.polling import wait_until

HELLO = [{"role": "user", "content": "hello"}]


def ask(client: httpx.Client, model: str) -> httpx.Response:
    return client.post("/chat/completions", json={"model": f"acme/{model}", "messages": HELLO})


def chats(fake: fakes.Upstream) -> int:
    return sum(record.path.endswith("/chat/completions") for record in fake.requests)


def direct(fake: fakes.Upstream) -> dict[str, object]:
    return {"base_url": fake.url, "routing_method": "direct", "fallback_enabled": False}


def test_a_failing_model_does_not_affect_another(door: Door, fake: fakes.Upstream) -> None:
    """Twelve requests each, in turn."""
    door.serve("500", "sixty", **direct(fake))
    with door.raw() as client:
        answers = [(ask(client, "500"), ask(client, "sixty")) for _ in range(12)]
    assert [good.status_code for _, good in answers] == [200] * 12
    assert {bad.status_code for bad, _ in answers} <= {502, 503}


def test_a_forbidden_model_and_a_moderated_prompt_are_403_and_others_go_on(
    door: Door, fake: fakes.Upstream
) -> None:
    """By type and code; the key stays in use."""
    door.serve("403", "403-moderated", "sixty", **direct(fake))
    with door.raw() as client:
        refused = [ask(client, model) for model in ("403", "403", "403-moderated")]
        assert [each.status_code for each in refused] == [403] * 3
        assert {each.json()["error"]["type"] for each in refused} == {"permission_error"}
        wait_until(lambda: any(r.path.endswith("/models") for r in fake.requests))
        assert [ask(client, "sixty").status_code for _ in range(3)] == [200] * 3


def test_a_limited_key_is_503_with_its_wait_until_it_is_over(
    door: Door, fake: fakes.Upstream
) -> None:
    """Nothing goes out by last resort."""
    door.serve("429-long", "sixty", **direct(fake))
    with door.raw() as client:
        assert ask(client, "429-long").status_code == 429
        answers = [ask(client, "sixty") for _ in range(5)]
    assert [each.status_code for each in answers] == [503] * 5
    assert all(3500 < int(each.headers["retry-after"]) <= 3600 for each in answers)
    assert chats(fake) == 1


def test_a_wrong_key_is_disabled_after_one_answer(door: Door, fake: fakes.Upstream) -> None:
    """The list of models is refused as well; nothing more is sent with it."""
    fake.key = "another"
    door.serve("sixty", "long", **direct(fake))
    with door.raw() as client:
        assert ask(client, "sixty").json()["error"]["type"] == "provider_auth_error"
        wait_until(lambda: any(r.path.endswith("/models") for r in fake.requests))
        wait_until(lambda: "disabled" in ask(client, "long").json()["error"]["message"])
        sent = chats(fake)
        assert ask(client, "sixty").status_code == 403
    assert chats(fake) == sent
