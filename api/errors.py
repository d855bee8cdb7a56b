"""Errors in each format of the doors, and the status of each kind of failed call. No I/O.

The status decides what a client does next. OpenCode, the AI SDK and OpenAI's own packages retry
after 408, 409, 429 and 5xx, honouring Retry-After; after any other 4xx they stop and show our
message. So any other status below 500 is for failures that a retry cannot fix.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from api.limit_headers import LimitFigures, anthropic_headers, openai_headers
from providers.domain.errors import CallError, ErrorKind, PlanFailed
from providers.domain.types import AttemptRecord
from providers.protocols.anthropic_events import write_error
from providers.protocols.openai_chat import encode_json


@dataclass(frozen=True, slots=True)
class Rule:
    """The status and type of one kind of failure."""

    status: int
    type: str


RULES: Mapping[ErrorKind, Rule] = {
    # Not reached, or broken off: a retry or another route may succeed.
    ErrorKind.NETWORK: Rule(502, "upstream_error"),
    ErrorKind.TIMEOUT: Rule(504, "upstream_error"),
    ErrorKind.PROVIDER: Rule(502, "upstream_error"),
    ErrorKind.GATEWAY: Rule(502, "upstream_error"),
    # Too many requests at once, there or here: retry after Retry-After.
    ErrorKind.OVERLOADED: Rule(503, "overloaded_error"),
    ErrorKind.RATE_LIMIT: Rule(429, "rate_limit_error"),
    # The account has no credit left. OpenAI sends 429, which clients retry in vain; so 402.
    ErrorKind.QUOTA: Rule(402, "insufficient_quota"),
    # The provider refused the operator's key. Not 401: the caller's own key is valid. Not 502:
    # only an operator can fix it, so a retry is useless.
    ErrorKind.AUTH: Rule(403, "provider_auth_error"),
    # The stored key cannot be decrypted, so nothing was sent. For an operator to fix, as above.
    ErrorKind.UNREADABLE: Rule(403, "provider_key_unreadable"),
    # The provider refused this model or prompt; the key works for others.
    ErrorKind.PERMISSION: Rule(403, "permission_error"),
    # The request is wrong: the provider's own 4xx where clients know it, else 400.
    ErrorKind.REQUEST: Rule(400, "invalid_request_error"),
    # Never received: the client has disconnected.
    ErrorKind.STOPPED: Rule(499, "stopped"),
}

# Statuses of the provider about the request itself, which clients handle differently.
_PASSED_STATUSES = frozenset({400, 404, 409, 413, 415, 422})
MAX_RETRY_AFTER_SECONDS = 24 * 3600


class ApiError(Exception):
    """A request answered with an error. `attempts`: the upstream calls that were made."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        type: str = "invalid_request_error",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: tuple["FailedAttempt", ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        self.attempts = attempts

    def fields(self) -> dict[str, Any]:
        """The error in OpenAI's shape."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        if self.attempts:
            error["attempts"] = [attempt.fields() for attempt in self.attempts]
        return {"error": error}


@dataclass(frozen=True, slots=True)
class ErrorFormat:
    """How a door writes an error. `event`: the start of the event that carries it in a stream;
    `write_events`: all events of the error, where what was sent before decides them."""

    write: Callable[[ApiError], Mapping[str, Any]]
    event: bytes = b""
    write_events: Callable[[ApiError], bytes] | None = None
    limit_headers: Callable[[Iterable[LimitFigures], datetime], dict[str, str]] = openai_headers

    def body(self, error: ApiError) -> bytes:
        """The error as a JSON body."""
        return encode_json(self.write(error))

    def stream_event(self, error: ApiError) -> bytes:
        """The error as an event of a stream that has started."""
        if self.write_events:
            return self.write_events(error)
        return b"%bdata: %b\n\n" % (self.event, self.body(error))


OPENAI_ERRORS = ErrorFormat(ApiError.fields)
ANTHROPIC_ERRORS = ErrorFormat(
    lambda error: write_error(error.status, error.message),
    b"event: error\n",
    limit_headers=anthropic_headers,
)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt as clients see it. `route` is `provider/method`."""

    route: str
    record: AttemptRecord = field(repr=False)

    def fields(self) -> dict[str, Any]:
        record = self.record
        return {
            "route": self.route,
            "outcome": record.outcome,
            "status": record.status,
            "code": record.error_code,
            "message": record.error_message,
            "ms": record.duration_ms,
        }

    def summary(self) -> str:
        """`acme/direct: Connection refused`."""
        reason = self.record.error_message or self.record.outcome
        return f"{self.route}: {reason.rstrip('.')}"


def to_api_error(
    error: CallError, provider: str, attempts: tuple[FailedAttempt, ...] = ()
) -> ApiError:
    """The error that a failed call is answered with. `provider`: empty where none was called."""
    rule = RULES[error.kind]
    passes = error.kind == ErrorKind.REQUEST and error.status in _PASSED_STATUSES
    status = error.status if passes and error.status else rule.status
    return ApiError(
        status,
        _message(error, provider, attempts),
        type=rule.type,
        code=error.code or error.kind.value,
        param=error.param or None,
        headers=retry_after(error.retry_after),
        attempts=attempts,
    )


def _message(error: CallError, provider: str, attempts: tuple[FailedAttempt, ...]) -> str:
    """The most useful failure, then all of them where there were several."""
    message = f"{provider}: {error.message}" if provider else error.message
    if isinstance(error, PlanFailed) and len(attempts) > 1:
        message += f" (Attempts: {'; '.join(attempt.summary() for attempt in attempts)}.)"
    return message


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header in whole seconds, rounded up; None if the wait is unknown."""
    if seconds is None:
        return {}
    return {"retry-after": str(math.ceil(min(max(seconds, 0), MAX_RETRY_AFTER_SECONDS)))}


def bad_request(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A 400 about one field of the body."""
    return ApiError(400, message, code=code, param=param)


def unavailable(message: str) -> ApiError:
    """A 503: this process cannot serve yet."""
    return ApiError(
        503, message, type="server_error", code="unavailable", headers={"retry-after": "1"}
    )
