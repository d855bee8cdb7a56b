"""What `/v1/model/info` says of a model: readable by what reads LiteLLM's own."""

from decimal import Decimal
from typing import Any

import pytest

from api.model_list.litellm_info import describe_info, list_info
from providers.domain.prices import Prices
from providers.protocols.model_list import read_model_list
from tests.api.conftest import Door
from tests.api.model_list.test_openai_models import served


def info(**fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = describe_info(served(**fields), "fast")["model_info"]
    return answer


def test_our_own_discovery_reads_it() -> None:
    """Limits, kind, abilities and prices come back as they were."""
    model = served(
        context=8000,
        output_limit=2000,
        tools=True,
        vision=False,
        kinds=frozenset({"embedding"}),
        takes=("seed",),
        prices=Prices(input=Decimal("0.6"), output=Decimal("2.2"), cache_read=Decimal("0.1")),
    )
    (read,) = read_model_list(list_info([model], lambda model, name: True))
    assert (read.model_id, read.kind) == ("acme/m", "embedding")
    assert (read.context, read.output_limit, read.takes) == (8000, 2000, ("seed",))
    assert (read.tools, read.vision, read.reasoning) == (True, False, None)
    assert (read.input_price, read.output_price) == (Decimal("0.6"), Decimal("2.2"))
    assert read.cache_read_price == Decimal("0.1")


def test_unknown_values_are_null() -> None:
    """Never zero, and never no."""
    known = {"id", "litellm_provider"}
    assert {name for name, value in info().items() if value is not None} == known


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("chat", "chat"),
        ("image", "image_generation"),
        ("speech", "audio_speech"),
        ("transcription", "audio_transcription"),
        ("rerank", "rerank"),
    ],
)
def test_modes(kind: str, mode: str) -> None:
    assert info(kinds=frozenset({kind}))["mode"] == mode


def test_every_listed_name_has_a_row() -> None:
    rows = list_info([served(alias="fast")], lambda model, name: name == "fast")["data"]
    assert [row["model_name"] for row in rows] == ["fast"]
    assert rows[0]["litellm_params"] == {"model": "acme/m"}


def test_it_needs_a_key_and_reveals_none(door: Door) -> None:
    """Neither the provider's key nor its address."""
    provider = door.serve("echo", base_url="http://127.0.0.1:9/v1", api_key="sk-secret-123456")
    with door.raw() as client:
        answer = client.get("/model/info")
        client.headers["Authorization"] = "Bearer wrong"
        refused = client.get("/model/info")
    assert [row["model_name"] for row in answer.json()["data"]] == ["acme/echo"]
    assert provider.api_key not in answer.text
    assert provider.base_url not in answer.text
    assert refused.status_code == 401
