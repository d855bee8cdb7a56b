"""Error bodies in every shape seen: code, message and parameter as the upstream sent them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import MODERATED
from providers.protocols.error_body import ErrorBody, is_error, read_error

FIELD = {"loc": ["body", "messages"], "msg": "field required", "type": "value_error"}
INNER = {"error": {"message": "Too long.", "code": "context_length_exceeded", "param": "messages"}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        # OpenAI, Anthropic, Z.ai, LiteLLM, Google, vLLM
        (
            {"error": {"code": "c", "message": "m", "type": "t", "param": "p"}},
            ("c", "m", "p"),
        ),
        ({"error": {"code": None, "message": "m", "type": "requests"}}, ("requests", "m", "")),
        ({"type": "error", "error": {"type": "t", "message": "m"}}, ("t", "m", "")),
        ({"error": {"code": 1113, "message": "m"}}, ("1113", "m", "")),
        ({"error": {"code": "429", "message": "m", "type": "t"}}, ("t", "m", "")),
        (
            [{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}],
            ("INVALID_ARGUMENT", "m", ""),
        ),
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
            ("bad_request_error", "m", ""),
        ),
        (
            {"object": "error", "message": "m", "type": "t", "param": "top_p", "code": 40001},
            ("40001", "m", "top_p"),
        ),
        # Ollama, NestJS, OAuth, Hugging Face
        ({"error": "plain"}, ("", "plain", "")),
        ({"error": ["first", "second"]}, ("", "first; second", "")),
        ({"error": "Bad Request", "message": ["a must be b"]}, ("", "a must be b", "")),
        ({"error": "not_found", "message": "m", "statusCode": 404}, ("not_found", "m", "")),
        ({"error": "invalid_token", "error_description": "m"}, ("invalid_token", "m", "")),
        ({"error": "m", "error_type": "overloaded"}, ("overloaded", "m", "")),
        # FastAPI
        ({"detail": "Not Found"}, ("", "Not Found", "")),
        ({"detail": [FIELD]}, ("", "messages: field required", "messages")),
        (
            {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "too long"}, FIELD]},
            (
                "",
                "messages[0].content: too long; messages: field required",
                "messages[0].content",
            ),
        ),
        ({"detail": {"error": {"message": "m", "code": "c"}}}, ("c", "m", "")),
        (
            {"object": "error", "message": {"detail": [FIELD]}},
            ("", "messages: field required", "messages"),
        ),
        # Lists of errors
        (
            {"success": False, "errors": [{"code": 10000, "message": "m"}], "messages": []},
            ("10000", "m", ""),
        ),
        ({"errors": ["one", "two"]}, ("", "one; two", "")),
        ({"errors": {"name": ["is too long"]}}, ("", "name: is too long", "")),
        # Baidu, MiniMax, DashScope, Cohere, AWS, RFC 9457
        ({"error_code": 110, "error_msg": "m"}, ("110", "m", "")),
        ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, ("1004", "m", "")),
        ({"code": "InvalidApiKey", "message": "m"}, ("InvalidApiKey", "m", "")),
        ({"code": 500, "msg": "404 NOT_FOUND", "success": False}, ("500", "404 NOT_FOUND", "")),
        ({"message": "m"}, ("", "m", "")),
        ({"__type": "ThrottlingException", "Message": "m"}, ("throttling_exception", "m", "")),
        ({"type": "about:blank", "title": "t", "detail": "d", "status": 404}, ("", "d", "")),
        # An error within an error's text: OpenRouter, proxies
        (
            {
                "error": {
                    "message": "Provider returned error",
                    "code": 400,
                    "metadata": {"raw": json.dumps(INNER), "provider_name": "Azure"},
                }
            },
            ("context_length_exceeded", "Azure: Too long.", "messages"),
        ),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "Busy."}}},
            ("", "Busy.", ""),
        ),
        (
            {"error": {"message": json.dumps(INNER), "code": 400}},
            ("context_length_exceeded", "Too long.", "messages"),
        ),
        (
            {"message": f"Error code: 400 - {INNER!r}"},
            ("context_length_exceeded", "Too long.", "messages"),
        ),
        # Python's exceptions are nobody's words
        (
            {"error": {"message": "ValueError: bad top_p", "type": "ValueError"}},
            ("", "bad top_p", ""),
        ),
        ({"error": {"message": "m", "type": "TypeError", "code": 500}}, ("500", "m", "")),
        ({"detail": "openai.BadRequestError: no"}, ("", "no", "")),
        ({"detail": "KeyError"}, ("", "", "")),
        (
            {"error": {"message": "litellm.BadRequestError: OpenAIException - m"}},
            ("", "litellm.BadRequestError: OpenAIException - m", ""),
        ),
        # Text, and nothing
        ("plain words", ("", "plain words", "")),
        (json.dumps(INNER), ("context_length_exceeded", "Too long.", "messages")),
        ('{"error": {"code": "c"}}', ("c", "", "")),
        ('{"unknown": 1}', ("", '{"unknown": 1}', "")),
        ("{cut", ("", "{cut", "")),
        ("{}", ("", "", "")),
        ({"error": None}, ("", "", "")),
        ({"error": [1]}, ("", "", "")),
        ([], ("", "", "")),
        (None, ("", "", "")),
    ],
)
def test_an_error_keeps_its_words(body: object, said: tuple[str, str, str]) -> None:
    """Whoever wrote the server: vendors, gateways, web frameworks."""
    code, message, param = said
    assert read_error(body) == ErrorBody(code=code, message=message, param=param)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "detail", "message", "code", "type", "loc", "metadata", "raw"]
            ),
            each,
            max_size=4,
        )
    ),
)


@given(JSON)
def test_any_json_is_read(body: object) -> None:
    """Upstreams send what they like."""
    said = read_error(body)
    assert all(isinstance(each, str) for each in (said.code, said.message, said.param))


@pytest.mark.parametrize("depth", [10, 100_000])
def test_a_deep_body_is_read_to_a_depth(depth: int) -> None:
    """However deep it goes, in JSON and as Python prints it."""
    read_error('{"error":' * depth)
    read_error("Error code: 400 - " + "[" * depth)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "m"}}, True),
        ({"detail": "m"}, True),
        ({"object": "error", "message": "m"}, True),
        ({"error_msg": "m", "error_code": 1}, True),
        ({"code": 500, "msg": "404 NOT_FOUND", "success": False}, True),
        ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, True),
        ({"base_resp": {"status_code": 0, "status_msg": "success"}, "choices": []}, False),
        ({"choices": [], "detail": "m"}, False),
        ({"data": [], "detail": "m"}, False),
        ({"type": "ping"}, False),
        ({"usage": {}}, False),
    ],
)
def test_an_error_with_a_good_status_is_one(body: dict[str, object], expected: bool) -> None:
    """But not an answer that has such a field too."""
    assert is_error(body) is expected


def test_moderation_is_known_by_the_shape_of_its_metadata() -> None:
    """OpenRouter repeats the status as the code: there is nothing else to go by."""
    metadata = {"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"}
    error = {"code": 403, "message": "Your input was flagged.", "metadata": metadata}
    said = read_error({"error": error})
    assert (said.code, said.message) == (MODERATED, "Your input was flagged.")
    forbidden = error | {"metadata": {"provider_name": "OpenAI"}}
    assert read_error({"error": forbidden}).code != MODERATED


@pytest.mark.parametrize(
    ("error", "per_model"),
    [
        ({"code": "rate_limit_exceeded", "type": "tokens"}, True),
        ({"code": "rate_limit_exceeded", "type": "requests"}, True),
        ({"code": "rate_limit_exceeded", "type": "rate_limit_error"}, False),
        ({"code": "1302"}, False),
        ({"details": [{"violations": [{"quotaDimensions": {"model": "gemini-3"}}]}]}, True),
        ({"details": [{"violations": [{"quotaDimensions": {"location": "global"}}]}]}, False),
        ({"details": [{"violations": 5}]}, False),
        ({"details": "no"}, False),
    ],
)
def test_a_limit_is_one_models_where_the_error_says_so(
    error: dict[str, object], *, per_model: bool
) -> None:
    """By its type or its details, never by its words."""
    assert read_error({"error": error | {"message": "Too many."}}).per_model is per_model
