"""The errors of a call, as a tree, and the rule that classifies failures by kind.

    CallError                a call did not end well: kind, status, code, message, retry_after
    ├── GatewayError         the gateway itself failed, not the provider behind it
    ├── TruncatedError       the stream ended without a finish reason
    ├── AddressRefused       the address guard forbids the call
    ├── RunInterrupted       the process that ran a shared call ended before its answer did
    ├── KeyReused            an idempotency key was sent again with another request
    └── PlanFailed           every route of the plan failed; carries the attempts

The status decides first, then the body's code, then the body's shape; never its text alone.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from providers.domain import vendor_data

if TYPE_CHECKING:
    from providers.domain.types import AttemptRecord


class ErrorKind(StrEnum):
    """Why a call failed. policy/plan.py and policy/breaker.py decide what follows."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    PROVIDER = "provider"
    OVERLOADED = "overloaded"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    AUTH = "auth"
    PERMISSION = "permission"
    REQUEST = "request"
    GATEWAY = "gateway"
    UNREADABLE = "unreadable"
    STOPPED = "stopped"


class CallError(Exception):
    """One call that failed. `message` is safe to show: no key, no header, no request text.

    `param` is the field of the request that the upstream refused. `retry_after` is in seconds.
    `sent`: the upstream may have seen the request. `per_model`: the limit is that of one model.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        param: str = "",
        retry_after: float | None = None,
        sent: bool = True,
        per_model: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.sent = sent
        self.per_model = per_model


class GatewayError(CallError):
    """The gateway itself failed: key refused, import failed, or not reachable."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(ErrorKind.GATEWAY, message, status=status, code=code)


class TruncatedError(CallError):
    """The stream ended without a finish reason. Never reported as a success."""

    def __init__(self, message: str = "The answer ended before it was complete.") -> None:
        super().__init__(ErrorKind.PROVIDER, message, code="truncated")


class AddressRefused(CallError):
    """This instance does not call the address: link-local, or private where that is forbidden."""

    def __init__(self, host: str) -> None:
        super().__init__(
            ErrorKind.REQUEST,
            f"{host} is an address this instance is not allowed to call.",
            code="address_refused",
            sent=False,
        )


class RunInterrupted(CallError):
    """The process that ran a shared call is gone; this caller has had a part of the answer."""

    def __init__(self) -> None:
        message = "The process that fetched this answer ended before it was finished."
        super().__init__(ErrorKind.PROVIDER, message, code="flight_broken")


class KeyReused(CallError):
    """An idempotency key was sent again with a different request."""

    def __init__(self) -> None:
        message = "This Idempotency-Key was used for a different request. Use a new key."
        super().__init__(
            ErrorKind.REQUEST, message, status=422, code="idempotency_key_reused", sent=False
        )


class PlanFailed(CallError):
    """Every route failed. Has the message of the most useful failure, and lists all attempts."""

    def __init__(self, best: CallError, attempts: "tuple[AttemptRecord, ...]") -> None:
        super().__init__(
            best.kind,
            best.message,
            status=best.status,
            code=best.code,
            param=best.param,
            retry_after=best.retry_after,
        )
        self.attempts = attempts


def serialize(error: CallError) -> dict[str, Any]:
    """Convert an error to JSON values, for another process."""
    return {
        "kind": error.kind.value,
        "message": error.message,
        "status": error.status,
        "code": error.code,
        "param": error.param,
        "retry_after": error.retry_after,
        "per_model": error.per_model,
    }


def deserialize[T: CallError](fields: Mapping[str, Any], kind: type[T]) -> T:
    """Restore an error that another process has serialized."""
    return kind(
        ErrorKind(fields["kind"]),
        fields["message"],
        status=fields["status"],
        code=fields["code"],
        param=fields.get("param") or "",
        retry_after=fields["retry_after"],
        per_model=bool(fields.get("per_model")),
    )


# The vendor's moderation refused the prompt. OpenRouter's 403 carries only the reasons.
MODERATED = "moderated"

# The request is longer than the model's context; OpenAI's code, which LiteLLM's class becomes too.
CONTEXT_FULL = "context_length_exceeded"

# The upstream has no such path: another route may have it, and its chats are not concerned.
ENDPOINT_MISSING = "endpoint_missing"

# Codes for an unknown model; 1211 is Z.ai's.
NO_SUCH_MODEL = frozenset({"model_not_found", "1211"})

# Body codes that are more precise than the status: the vendors' own, from their presets, and those
# of the two formats. All apply to every provider, because a proxy passes on the codes of others.
_BY_CODE: Mapping[str, ErrorKind] = {
    **{
        code: ErrorKind(kind)
        for row in vendor_data.PRESETS
        for kind, codes in row.get("codes", {}).items()
        for code in codes
    },
    # OpenAI: https://platform.openai.com/docs/guides/error-codes
    "insufficient_quota": ErrorKind.QUOTA,
    "billing_hard_limit_reached": ErrorKind.QUOTA,
    "invalid_api_key": ErrorKind.AUTH,
    CONTEXT_FULL: ErrorKind.REQUEST,
    "content_filter": ErrorKind.REQUEST,
    # OpenRouter: https://openrouter.ai/docs/api-reference/errors
    MODERATED: ErrorKind.PERMISSION,
    # Anthropic: https://docs.anthropic.com/en/api/errors
    "authentication_error": ErrorKind.AUTH,
    "permission_error": ErrorKind.PERMISSION,
    "rate_limit_error": ErrorKind.RATE_LIMIT,
    "overloaded_error": ErrorKind.OVERLOADED,
    "invalid_request_error": ErrorKind.REQUEST,
}
# OpenAI's type of every error that is no server error; a 401 without a key has no other code.
_GENERIC = frozenset({"invalid_request_error"})

_BY_STATUS: Mapping[int, ErrorKind] = {
    401: ErrorKind.AUTH,
    402: ErrorKind.QUOTA,
    403: ErrorKind.PERMISSION,
    408: ErrorKind.TIMEOUT,
    429: ErrorKind.RATE_LIMIT,
    503: ErrorKind.OVERLOADED,
    529: ErrorKind.OVERLOADED,
}

# For these statuses the body's code decides; for all others the status does.
_CODE_DECIDES = frozenset({200, 400, 401, 403, 429, 500})


def classify(status: int | None, code: str = "") -> ErrorKind:
    """Classify a failed answer. Status None or 200: the error is in a successful response."""
    inside = status in (None, 200)
    if (inside or (status in _CODE_DECIDES and code not in _GENERIC)) and code in _BY_CODE:
        return _BY_CODE[code]
    if status is None or status < 400:
        return ErrorKind.PROVIDER
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ErrorKind.REQUEST if status < 500 else ErrorKind.PROVIDER
