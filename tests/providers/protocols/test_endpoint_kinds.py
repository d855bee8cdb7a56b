"""One row for each endpoint: the kinds that serve it, and what an answer counts."""

import pytest

from providers.domain.passed_body import PassedBody
from providers.domain.types import Usage
from providers.models import ModelKind
from providers.protocols.endpoint_kinds import CHAT, ENDPOINTS, EndpointKind, endpoints_of, serves
from providers.protocols.passed_usage import complete_usage, reported_usage, usage_at_the_end


@pytest.mark.parametrize("row", ENDPOINTS.values(), ids=lambda row: row.path)
def test_every_row_can_be_served(row: EndpointKind) -> None:
    """By a kind that a model may have, and by a model of unknown kind."""
    assert row.model_kinds & {*ModelKind.values, "completion"}
    assert row.required
    assert serves(frozenset(), row.path)
    assert all(row.path in endpoints_of(frozenset({kind})) for kind in row.model_kinds)
    assert not serves(frozenset({"other"}), row.path)


def test_a_chat_model_serves_chats_and_completions() -> None:
    assert endpoints_of(frozenset({"chat"})) == (CHAT, "completions")


@pytest.mark.parametrize(
    ("endpoint", "fields", "characters", "usage"),
    [
        ("embeddings", {"input": "12345"}, 0, Usage(input_tokens=2, estimated=True)),
        ("embeddings", {"input": [1, 2, 3]}, 0, Usage(input_tokens=3, estimated=True)),
        ("embeddings", {"input": [[1, 2], [3]]}, 0, Usage(input_tokens=3, estimated=True)),
        ("embeddings", {"input": ["1234", "5"]}, 0, Usage(input_tokens=2, estimated=True)),
        (
            "completions",
            {"prompt": "1234", "suffix": "1234"},
            8,
            Usage(input_tokens=2, output_tokens=2, estimated=True),
        ),
        (
            "rerank",
            {"query": "1234", "documents": ["1234", {"text": "12345678"}]},
            0,
            Usage(input_tokens=4, estimated=True),
        ),
        ("images/generations", {"prompt": "1234"}, 0, None),
        ("audio/speech", {"input": "1234"}, 0, None),
    ],
)
def test_estimates(
    endpoint: str, fields: dict[str, object], characters: int, usage: Usage | None
) -> None:
    """Of what is counted in tokens; nothing, and never zero, of what is not."""
    body = PassedBody(
        endpoint=endpoint, content_type="application/json", parts=(b"", b""), fields=fields
    )
    assert complete_usage(body, None, characters) == usage
    reported = Usage(input_tokens=9)
    assert complete_usage(body, reported, characters) == reported


def test_reported_usage_in_other_places() -> None:
    """Cohere's, and that of an answer too large to be parsed."""
    assert reported_usage({"meta": {"billed_units": {"search_units": 1}}}) is None
    assert reported_usage({"meta": {"billed_units": {"input_tokens": 5}}}) == Usage(input_tokens=5)
    assert usage_at_the_end(b'...], "usage": {"prompt_tokens": 4, "total_tokens": 4}}') == Usage(
        input_tokens=4
    )
    assert usage_at_the_end(b'..., "usage": 3}') is None
    assert usage_at_the_end(b'..., "usage": {"prompt') is None
