"""A key for some models, at the door: nothing else is listed, found or called."""

import anthropic
import httpx
import openai
import pytest

from api.models import ClientKey
from providers.infra import replicas
from providers.models import Attempt, LanguageModel, Provider
from providers.protocols.endpoint_kinds import ENDPOINTS
from tests.api.conftest import Door
from tests.polling import wait_until

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


def allow(door: Door, *patterns: str) -> None:
    ClientKey.objects.filter(pk=door.key.pk).update(allowed_models=list(patterns))
    replicas.publish("keys")


@pytest.fixture
def two_models(door: Door, acme: Provider) -> None:
    LanguageModel.objects.create(provider=acme, model_id="big", name="big", alias="best")
    wait_until(lambda: "best" in door.models())
    allow(door, "*/echo")
    wait_until(lambda: door.models() == ["acme/echo"])


def post(door: Door, path: str, **body: object) -> httpx.Response:
    with door.raw() as client:
        return client.post(path, json=HELLO | body)


@pytest.mark.usefixtures("two_models")
def test_a_model_that_is_not_allowed_is_403_at_every_door(door: Door) -> None:
    """Under each of its names, in each door's format; the provider is not called."""
    for name in ("acme/big", "big", "best"):
        answer = post(door, "/chat/completions", model=name)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "model_not_allowed")
    with pytest.raises(openai.PermissionDeniedError):
        door.client().models.retrieve("acme/big")
    client = anthropic.Anthropic(base_url=door.site.url, api_key=door.secret, max_retries=0)
    with pytest.raises(anthropic.PermissionDeniedError) as refused:
        client.messages.create(
            model="best", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        )
    assert refused.value.type == "permission_error"
    counted = post(door, "/messages/count_tokens", model="best")
    assert counted.status_code == 403
    for endpoint, row in ENDPOINTS.items():
        fields = dict.fromkeys(row.required, "Hi")
        if row.is_multipart:
            with door.raw() as raw:
                refused_form = raw.post(f"/{endpoint}", files={"file": b"x"}, data={"model": "big"})
            assert refused_form.status_code == 403, endpoint
        else:
            assert post(door, f"/{endpoint}", model="best", **fields).status_code == 403, endpoint
    assert post(door, "/responses", model="big", input="Hi").status_code == 403
    assert not Attempt.objects.exists()


@pytest.mark.usefixtures("two_models")
def test_no_list_names_a_model_that_is_not_allowed(door: Door) -> None:
    """In OpenAI's format, in Anthropic's, and in LiteLLM's."""
    with door.raw() as client:
        lists = [
            client.get("/models"),
            client.get("/models", headers={"anthropic-version": "2023-06-01"}),
            client.get("/model/info"),
        ]
    for answer in lists:
        assert "acme/echo" in answer.text
        assert "acme/big" not in answer.text
        assert "best" not in answer.text


@pytest.mark.usefixtures("two_models")
def test_an_allowed_model_answers_under_all_its_names(door: Door) -> None:
    """The plain name too, though the pattern is of the full one."""
    for name in ("acme/echo", "echo"):
        assert post(door, "/chat/completions", model=name).status_code == 200


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/chat/completions", {"models": ["acme/big"]}),
        ("/chat/completions", {"Model": "big"}),
        ("/chat/completions", {"extra_body": {"fallbacks": ["big"]}}),
        ("/messages", {"fallbacks": [{"model": "big"}], "max_tokens": 9}),
        ("/responses", {"input": "Hi", "models": ["big"]}),
        ("/embeddings", {"input": "Hi", "fallbacks": ["big"]}),
    ],
)
def test_a_limited_key_cannot_choose_another_model_upstream(
    door: Door, path: str, fields: dict[str, object]
) -> None:
    """OpenRouter and LiteLLM read such fields; a key without limits may send them."""
    answer = post(door, path, model="acme/echo", **fields)
    assert (answer.status_code, "limited to certain models" in answer.text) == (403, True)
    assert not Attempt.objects.exists()


@pytest.mark.usefixtures("two_models")
def test_a_form_cannot_choose_another_model_upstream(door: Door) -> None:
    with door.raw() as raw:
        data = {"model": "acme/echo", "fallbacks": "big"}
        answer = raw.post("/audio/transcriptions", files={"file": b"x"}, data=data)
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "fallbacks")
    assert not Attempt.objects.exists()


@pytest.mark.usefixtures("two_models")
def test_no_error_names_a_model_that_is_not_allowed(door: Door) -> None:
    """A suggestion would be of no use."""
    answer = post(door, "/chat/completions", model="acme/bigg")
    assert answer.status_code == 404
    assert "acme/big`" not in answer.text
