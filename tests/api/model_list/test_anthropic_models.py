"""What `GET /v1/models` answers to Anthropic's own package."""

import anthropic
import pytest

from api.model_list.anthropic_models import describe_model, list_models
from providers.models import Provider
from tests.api.conftest import Door

MODEL = {"id": "acme/m", "object": "model", "created": 1767225600, "name": "M"}


def test_the_fields_that_clients_read() -> None:
    described = describe_model({**MODEL, "context_length": 9, "max_output_tokens": 5})
    assert described["created_at"] == "2026-01-01T00:00:00+00:00"
    assert (described["max_input_tokens"], described["max_tokens"]) == (9, 5)
    assert "max_tokens" not in describe_model(MODEL)


def test_an_empty_list_is_a_page_too() -> None:
    assert list_models([]) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_the_package_lists_models_and_gets_one(door: Door, acme: Provider) -> None:
    client = anthropic.Anthropic(base_url=door.site.url, api_key=door.secret, max_retries=0)
    listed = list(client.models.list())
    assert [(model.id, model.type) for model in listed] == [("acme/echo", "model")]
    assert client.models.retrieve("acme/echo") == listed[0]
    with pytest.raises(anthropic.NotFoundError) as raised:
        client.models.retrieve("acme/ecko")
    assert raised.value.body["type"] == "error"  # type: ignore[index]
