"""A provider's list of models, in every shape that was seen."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError
from providers.domain.types import DiscoveredModel
from providers.protocols import model_list

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["pricing", "model_info", "architecture", "top_provider", "capabilities", "context_length"]
)


@given(JSON)
def test_no_payload_breaks_a_catalogue(payload: object) -> None:
    """Neither here."""
    for shape in (payload, {"data": payload}, {"models": [payload]}, {"error": payload}):
        with contextlib.suppress(CallError):
            model_list.read_model_list(shape)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, [("a", ""), ("b", "")]),
        ({"models": [{"slug": "a", "name": "A"}]}, [("a", "A")]),
        ({"models": [{"name": "llama3:8b", "model": "llama3:8b"}]}, [("llama3:8b", "llama3:8b")]),
        ({"models": [{"name": "models/gemini-x", "displayName": "X"}]}, [("gemini-x", None)]),
        ({"data": [{"type": "model", "id": "claude", "display_name": "C"}]}, [("claude", "C")]),
        (["a", {"id": "b"}], [("a", ""), ("b", "")]),
        ({"data": [{"id": ""}, {"nothing": 1}, 3, None]}, []),
        ({"data": []}, []),
    ],
)
def test_catalogues_of_every_shape_are_read(
    payload: object, found: list[tuple[str, str | None]]
) -> None:
    """OpenAI's, Ollama's, Gemini's, Anthropic's and a bare list."""
    models = model_list.read_model_list(payload)
    assert [m.model_id for m in models] == [model_id for model_id, _ in found]
    assert all(name is None or m.name == name for m, (_, name) in zip(models, found, strict=True))


@pytest.mark.parametrize("payload", [None, 3, "x", {"data": 3}, {}, {"data": {"id": "a"}}])
def test_a_catalogue_of_no_known_shape_says_so(payload: object) -> None:
    """An unknown shape is the provider's failure, never an empty catalogue."""
    with pytest.raises(CallError, match="shape") as caught:
        model_list.read_model_list(payload)
    assert caught.value.code == "catalogue_shape"


@given(KEYS, JSON, st.sampled_from(["prompt", "input", "vision", "max_input_tokens"]))
def test_no_fact_breaks_a_catalogue(key: str, value: object, inner: str) -> None:
    """What cannot be a price or a limit is left out; the model stays."""
    for row in ({"id": "a", key: value}, {"id": "a", key: {inner: value}}):
        assert [model.model_id for model in model_list.read_model_list([row])] == ["a"]


def test_abilities_prices_and_parameters_are_read_from_openrouter() -> None:
    """A price there is for one token, as text; what it does not list it does not do."""
    row = {
        "id": "z-ai/glm-4.7",
        "name": "GLM 4.7",
        "context_length": 202752,
        "architecture": {"input_modalities": ["text"]},
        "pricing": {"prompt": "0.0000004", "completion": "0.0000015"},
        "top_provider": {"max_completion_tokens": 65535},
        "supported_parameters": ["tools", "temperature", "reasoning"],
    }
    assert model_list.read_model_list({"data": [row]}) == [
        DiscoveredModel(
            model_id="z-ai/glm-4.7",
            name="GLM 4.7",
            context=202752,
            output_limit=65535,
            vision=False,
            tools=True,
            reasoning=True,
            json_output=False,
            input_price=Decimal("0.4"),
            output_price=Decimal("1.5"),
            takes=("tools", "temperature", "reasoning"),
        )
    ]


def test_a_litellm_proxy_describes_its_models() -> None:
    """`/model/info`: the name it is asked for by, and LiteLLM's own words about it."""
    info = {
        "max_input_tokens": 128000,
        "max_output_tokens": 16384,
        "supports_vision": True,
        "supports_function_calling": None,
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
    }
    row = {"model_name": "fast", "litellm_params": {"model": "gpt-4o"}, "model_info": info}
    (model,) = model_list.read_model_list({"data": [row]})
    assert (model.model_id, model.context, model.output_limit) == ("fast", 128000, 16384)
    assert (model.vision, model.tools) == (True, None)
    assert (model.input_price, model.output_price) == (Decimal("2.5"), Decimal(10))


@pytest.mark.parametrize("price", ["-1", "free", "nan", True, None, "1e99", [1]])
def test_what_is_no_price_is_not_known(price: object) -> None:
    """OpenRouter's -1 means that it depends."""
    (model,) = model_list.read_model_list([{"id": "auto", "pricing": {"prompt": price}}])
    assert model.input_price is None


def test_lm_studios_words_are_understood() -> None:
    """Its first API has `type` and a list of capabilities, its native one `key` and an object."""
    first = {
        "data": [
            {
                "id": "sees",
                "type": "vlm",
                "max_context_length": 32768,
                "capabilities": ["tool_use"],
            },
            {"id": "reads", "type": "llm"},
            {"id": "nomic", "type": "embeddings"},
        ]
    }
    sees, reads, nomic = model_list.read_model_list(first)
    assert (sees.vision, sees.tools, sees.kind, sees.context) == (True, True, "chat", 32768)
    assert (reads.vision, reads.tools, reads.kind) == (False, None, "chat")
    assert nomic.kind == "embedding"
    native = {
        "models": [
            {
                "type": "llm",
                "key": "google/gemma-3-4b",
                "display_name": "Gemma 3 4B",
                "max_context_length": 131072,
                "capabilities": {"vision": True, "trained_for_tool_use": True},
            }
        ]
    }
    (model,) = model_list.read_model_list(native)
    assert (model.model_id, model.name, model.context) == (
        "google/gemma-3-4b",
        "Gemma 3 4B",
        131072,
    )
    assert (model.vision, model.tools, model.kind) == (True, True, "chat")


@pytest.mark.parametrize("odd", ["\ud800", "a\ud800b", "a\0b", "x" * 201, "", None, 7, [], {}])
def test_an_odd_entry_is_left_out_and_counted(odd: object) -> None:
    """It never spoils the others."""
    for row in ({"id": odd}, odd):
        models = model_list.read_model_list({"data": [{"id": "a"}, row, {"id": "b"}]})
        assert [model.model_id for model in models] == ["a", "b"]
        assert models.unread == 1


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
def test_what_is_found_can_be_stored(model_id: str, name: str) -> None:
    """Whatever characters a server sends."""
    for model in model_list.read_model_list([{"id": model_id, "name": name, "display_name": name}]):
        for kept in (model.model_id, model.name):
            assert "\0" not in kept.encode().decode()


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"id": "text-embedding-3-small"}, ""),
        ({"id": "flux", "architecture": {"output_modalities": ["image"]}}, "image"),
        ({"id": "both", "architecture": {"output_modalities": ["image", "text"]}}, ""),
        ({"model_name": "w", "model_info": {"mode": "audio_transcription"}}, "transcription"),
        ({"id": "r", "type": "rerank"}, "rerank"),
        ({"id": "m", "type": "no word we know"}, ""),
    ],
)
def test_a_list_says_what_a_model_is_for(row: object, kind: str) -> None:
    (model,) = model_list.read_model_list([row])
    assert model.kind == kind


def test_an_id_says_it_where_the_list_does_not() -> None:
    said = {"text-embedding-3-small": "embedding", "whisper-1": "transcription", "glm-4.7": "chat"}
    assert {name: model_list.guess_kind(name) for name in said} == said


def test_prices_of_cached_tokens_are_read() -> None:
    """OpenRouter's for one token, a LiteLLM proxy's beside its other facts."""
    pricing = {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003"}
    info = {"input_cost_per_token": 3e-6, "cache_creation_input_token_cost": 3.75e-6}
    rows = [
        {"id": "a", "pricing": pricing},
        {"model_name": "b", "model_info": info},
        {"id": "c", "pricing": {"input": 1, "output": 2, "cached_input": 0.5}},
    ]
    found = model_list.read_model_list({"data": rows})
    assert [(m.cache_read_price, m.cache_write_price) for m in found] == [
        (Decimal("0.3"), None),
        (None, Decimal("3.75")),
        (Decimal("0.5"), None),
    ]
