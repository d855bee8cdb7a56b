"""The table of finish reasons: every vendor's word, what clients get for it, what it means."""

import pytest

from providers.domain.errors import ErrorKind
from providers.protocols import finish
from providers.protocols.finish import Ending


@pytest.mark.parametrize(
    ("reasons", "ending", "standard"),
    [
        ("stop end_turn stop_sequence eos eos_token STOP COMPLETE", Ending.COMPLETE, "stop"),
        ("tool_calls tool_use tool-calls", Ending.TOOL_CALLS, "tool_calls"),
        ("function_call", Ending.TOOL_CALLS, "function_call"),
        ("length max_tokens MAX_TOKENS model_length", Ending.LENGTH, "length"),
        ("pause_turn", Ending.PAUSED, "length"),
        ("content_filter sensitive SAFETY RECITATION", Ending.FILTERED, "content_filter"),
        ("guardrail_intervened content_filtered", Ending.FILTERED, "content_filter"),
        ("refusal", Ending.REFUSED, "content_filter"),
        ("network_error error ERROR abort MALFORMED_FUNCTION_CALL", Ending.FAILED, ""),
        ("insufficient_system_resource overloaded", Ending.OVERLOADED, ""),
        ("model_context_window_exceeded", Ending.CONTEXT_FULL, ""),
        ("upstream_error request_timeout EngineFailure.abort", Ending.FAILED, ""),
    ],
)
def test_a_reason_has_one_meaning(reasons: str, ending: Ending, standard: str) -> None:
    """However it is spelled; a failure has no name in OpenAI's format."""
    for reason in reasons.split():
        assert finish.ending(reason) == ending, reason
        assert finish.standard(reason) == standard, reason
        assert (finish.failure(reason) is None) == bool(standard), reason


def test_an_unknown_reason_is_passed_on() -> None:
    """It is no failure, and nobody invents a `stop` for it."""
    assert finish.ending("brand_new") == Ending.UNKNOWN
    assert finish.standard("brand_new") == "brand_new"
    assert finish.failure("brand_new") is None


@pytest.mark.parametrize(
    ("reason", "kind", "code"),
    [
        ("network_error", ErrorKind.PROVIDER, "network_error"),
        ("insufficient_system_resource", ErrorKind.OVERLOADED, "insufficient_system_resource"),
        ("model_context_window_exceeded", ErrorKind.REQUEST, "context_length_exceeded"),
    ],
)
def test_a_failure_is_an_error_of_its_kind(reason: str, kind: ErrorKind, code: str) -> None:
    """A full context is the request's, not the route's; the vendor's reason is in the message."""
    error = finish.failure(reason)
    assert error is not None
    assert (error.kind, error.code) == (kind, code)
    assert reason in error.message


@pytest.mark.parametrize("reason", [None, "", "null", "None", " "])
def test_nothing_is_no_reason(reason: object) -> None:
    """Some servers write null as a string on every chunk."""
    assert not finish.is_given(reason)
