"""Errors in OpenAI's shape, and the table of what each kind of failed call answers. No I/O.

What a client does next follows from the status. OpenCode, the AI SDK and OpenAI's own packages try
again after 408, 409, 429 and 5xx, honouring Retry-After, and stop at any other 4xx, showing our
message. So a status below 500 says: trying again as it is helps nobody.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.domain.errors import CallError, ErrorKind, PlanFailed
from providers.domain.types import AttemptRecord
from providers.protocols.openai_chat import encode_json


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of failure is told as."""

    status: int
    type: str


RULES: Mapping[ErrorKind, Rule] = {
    # Nobody could be reached, or broke off: another moment or another route may do better.
    ErrorKind.NETWORK: Rule(502, "upstream_error"),
    ErrorKind.TIMEOUT: Rule(504, "upstream_error"),
    ErrorKind.PROVIDER: Rule(502, "upstream_error"),
    ErrorKind.GATEWAY: Rule(502, "upstream_error"),
    # Too many at once, there or here: wait as long as Retry-After says.
    ErrorKind.OVERLOADED: Rule(503, "overloaded_error"),
    ErrorKind.RATE_LIMIT: Rule(429, "rate_limit_error"),
    # The account is used up. OpenAI says 429 here, and clients then try again for nothing: 402.
    ErrorKind.QUOTA: Rule(402, "insufficient_quota"),
    # The provider refused the operator's key. Not 401: that is about the caller's own key, which
    # is good. Not 502: only an operator can mend it, so nobody should try again.
    ErrorKind.AUTH: Rule(403, "provider_auth_error"),
    # The stored key cannot be decrypted here, so nothing was sent: for an operator, as above.
    ErrorKind.UNREADABLE: Rule(403, "provider_key_unreadable"),
    # The provider refused this one model or prompt; its key works for others.
    ErrorKind.PERMISSION: Rule(403, "permission_error"),
    # The caller's doing: the provider's own 4xx where it is one that clients know, else 400.
    ErrorKind.REQUEST: Rule(400, "invalid_request_error"),
    # Nobody reads this one: the reader has left.
    ErrorKind.STOPPED: Rule(499, "stopped"),
}

# What the provider said of the request itself, and clients tell apart.
_OWN_STATUSES = frozenset({400, 404, 409, 413, 415, 422})
LONGEST_WAIT = 24 * 3600  # seconds; a header beyond it helps nobody


class ApiError(Exception):
    """A request that is answered with an error. `attempts`: what was tried, where anything was."""

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

    def body(self) -> bytes:
        """The JSON, for an answer's body and for an event alike."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        if self.attempts:
            error["attempts"] = [tried.fields() for tried in self.attempts]
        return encode_json({"error": error})


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt as callers are told of it. `route` is `provider/method`."""

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

    def words(self) -> str:
        """`acme/direct: Connection refused`."""
        what = self.record.error_message or self.record.outcome
        return f"{self.route}: {what.rstrip('.')}"


def refusal(error: CallError, provider: str, attempts: tuple[FailedAttempt, ...] = ()) -> ApiError:
    """What a failed call is told as. `provider` names whom it was asked of, if anybody."""
    rule = RULES[error.kind]
    own = error.kind == ErrorKind.REQUEST and error.status in _OWN_STATUSES
    status = error.status if own and error.status else rule.status
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
    """The most useful failure first; all of them where there were several."""
    told = f"{provider}: {error.message}" if provider else error.message
    if isinstance(error, PlanFailed) and len(attempts) > 1:
        told += f" (Tried: {'; '.join(tried.words() for tried in attempts)}.)"
    return told


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header, in whole seconds and never too early; none where nothing is known."""
    if seconds is None:
        return {}
    return {"retry-after": str(math.ceil(min(max(seconds, 0), LONGEST_WAIT)))}


def bad_request(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A 400 about one field of the body."""
    return ApiError(400, message, code=code, param=param)


def unavailable(message: str) -> ApiError:
    """A 503 of our own: this process lacks what it needs, for now."""
    return ApiError(
        503, message, type="server_error", code="unavailable", headers={"retry-after": "1"}
    )
