"""The status and body of each kind of failed call; useless retries are prevented."""

import json

import pytest
from django.utils import timezone

from api.errors import (
    ANTHROPIC_ERRORS,
    OPENAI_ERRORS,
    RULES,
    ApiError,
    FailedAttempt,
    retry_after,
    to_api_error,
)
from providers.domain.errors import CallError, ErrorKind, PlanFailed
from providers.domain.types import AttemptRecord, Method

# What OpenCode and OpenAI's packages try again (beside 408 and 409, which we never answer).
RETRIED = frozenset({429, 500, 502, 503, 504})


def attempt(
    outcome: str, message: str = "", method: Method | None = Method.DIRECT
) -> FailedAttempt:
    record = AttemptRecord(
        route_id=1,
        method=method,
        endpoint="",
        outcome=outcome,
        reason="direct: preferred",
        started_at=timezone.now(),
        duration_ms=12,
        status=503,
        error_code="overloaded",
        error_message=message,
    )
    return FailedAttempt("acme/direct", record)


def test_every_kind_has_its_rule() -> None:
    """A new kind must be decided on."""
    assert set(RULES) == set(ErrorKind)


@pytest.mark.parametrize("kind", [ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.REQUEST])
def test_permanent_failures_have_no_retried_status(kind: ErrorKind) -> None:
    """OpenCode stops, and shows what we say."""
    assert to_api_error(CallError(kind, "No."), "Acme").status not in RETRIED


@pytest.mark.parametrize(
    "kind",
    [
        *(ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.PROVIDER, ErrorKind.GATEWAY),
        *(ErrorKind.OVERLOADED, ErrorKind.RATE_LIMIT),
    ],
)
def test_transient_failures_have_a_retried_status(kind: ErrorKind) -> None:
    """Another moment may do better."""
    assert to_api_error(CallError(kind, "Later."), "Acme").status in RETRIED


def test_the_field_that_the_provider_refused_is_named() -> None:
    """As it named it; null where it named none."""
    error = CallError(ErrorKind.REQUEST, "Too large.", status=422, param="messages[0].content")
    failed = to_api_error(PlanFailed(error, ()), "Acme")
    assert (failed.status, failed.param) == (422, "messages[0].content")
    body = json.loads(OPENAI_ERRORS.body(to_api_error(CallError(ErrorKind.REQUEST, "No."), "")))
    assert body["error"]["param"] is None


def test_the_providers_refused_key_is_not_the_callers() -> None:
    """401 is kept for the key that was shown to us."""
    error = CallError(ErrorKind.AUTH, "Incorrect API key.", status=401, code="invalid_api_key")
    assert to_api_error(error, "Acme").status == 403


def test_a_refused_model_or_prompt_is_not_a_refused_key() -> None:
    """Clients and operators distinguish them by type."""
    error = CallError(ErrorKind.PERMISSION, "Not this model.", status=403)
    answer = to_api_error(error, "Acme")
    assert (answer.status, answer.type, answer.code) == (403, "permission_error", "permission")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, 400), (404, 404), (413, 413), (422, 422), (418, 400), (None, 400)],
)
def test_the_providers_word_on_the_request_is_passed_on(status: int | None, expected: int) -> None:
    """Where clients know the status; else 400."""
    assert (
        to_api_error(CallError(ErrorKind.REQUEST, "No.", status=status), "Acme").status == expected
    )


def test_the_shape_is_openais() -> None:
    """Message, type, param, code; and who said it."""
    error = CallError(ErrorKind.RATE_LIMIT, "Slow down.", code="1302", retry_after=1.2)
    refused = to_api_error(error, "Z.ai")
    assert json.loads(OPENAI_ERRORS.body(refused)) == {
        "error": {
            "message": "Z.ai: Slow down.",
            "type": "rate_limit_error",
            "param": None,
            "code": "1302",
        }
    }
    assert refused.headers == {"retry-after": "2"}


def test_lists_the_attempts() -> None:
    """As a list for programs; in words where there was more than one."""
    tried = (attempt("overloaded", "It is full."), attempt("network"))
    failed = PlanFailed(CallError(ErrorKind.NETWORK, "It broke."), ())
    error = json.loads(OPENAI_ERRORS.body(to_api_error(failed, "Acme", tried)))["error"]
    assert error["message"] == (
        "Acme: It broke. (Attempts: acme/direct: It is full; acme/direct: network.)"
    )
    assert error["attempts"][0] == {
        "route": "acme/direct",
        "outcome": "overloaded",
        "status": 503,
        "code": "overloaded",
        "message": "It is full.",
        "ms": 12,
    }


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(None, None), (0.0, "0"), (0.2, "1"), (30.0, "30"), (1e300, "86400"), (-5.0, "0")],
)
def test_retry_after_is_rounded_up(seconds: float | None, header: str | None) -> None:
    """Whatever an upstream made of it."""
    assert retry_after(seconds).get("retry-after") == header


def test_any_text_can_be_encoded() -> None:
    """Lone surrogates too, which no UTF-8 takes."""
    body = OPENAI_ERRORS.body(ApiError(400, "a \ud800 b", code="x"))
    assert json.loads(body)["error"]["message"] == "a \ud800 b"


def test_each_door_writes_an_error_in_its_own_shape() -> None:
    """In a body, and in an event of a stream that has started."""
    error = ApiError(429, "Slow down.", code="rate_limit", type="rate_limit_error")
    assert json.loads(OPENAI_ERRORS.body(error))["error"]["code"] == "rate_limit"
    assert OPENAI_ERRORS.stream_event(error).startswith(b"data: {")
    expected = {"type": "rate_limit_error", "message": "Slow down."}
    assert json.loads(ANTHROPIC_ERRORS.body(error)) == {"type": "error", "error": expected}
    assert ANTHROPIC_ERRORS.stream_event(error).startswith(b"event: error\ndata: {")
