"""What can go wrong on a call, as a tree of errors, and the rule that sorts failures into kinds.

    CallError                a call did not end well: kind, status, code, message, retry_after
    ├── GatewayError         the gateway itself failed, not the provider behind it
    ├── TruncatedError       the stream ended without a finish reason
    ├── AddressRefused       the address guard does not let us call there
    ├── FlightBroken         the process that ran for several callers ended in mid-answer
    ├── KeyReused            an idempotency key was sent again with another request
    └── PlanFailed           every route of the plan failed; carries the attempts

Sorting goes by status, then by the body's code, then by shape; never by prose alone (design.md §5).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from providers.domain import vendor_data

if TYPE_CHECKING:
    from providers.domain.types import AttemptRecord


class ErrorKind(StrEnum):
    """Why a call failed. What follows from each kind is decided in routing.py and breaker.py."""

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

    `param` names the field of the request that was refused, as the upstream does. `retry_after` is
    in seconds; `sent` says whether the upstream may have seen the request; `per_model` whether a
    limit is that of one model alone.
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
    """The gateway failed by itself: refused its key, could not be imported, is not there."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(ErrorKind.GATEWAY, message, status=status, code=code)


class TruncatedError(CallError):
    """The stream ended without a finish reason: never reported as a good end."""

    def __init__(self, message: str = "The answer broke off before it was finished.") -> None:
        super().__init__(ErrorKind.PROVIDER, message, code="truncated")


class AddressRefused(CallError):
    """The address is one this instance does not call (link-local, or private where forbidden)."""

    def __init__(self, host: str) -> None:
        super().__init__(
            ErrorKind.REQUEST,
            f"{host} is an address this instance is not allowed to call.",
            code="address_refused",
            sent=False,
        )


class FlightBroken(CallError):
    """Who ran for several callers is gone, and this one has already had a part of the answer."""

    def __init__(self) -> None:
        message = "The process that fetched this answer ended before it was finished."
        super().__init__(ErrorKind.PROVIDER, message, code="flight_broken")


class KeyReused(CallError):
    """The same idempotency key with another request: one of the two is a mistake."""

    def __init__(self) -> None:
        message = "This Idempotency-Key was used for a different request. Use a new key."
        super().__init__(
            ErrorKind.REQUEST, message, status=422, code="idempotency_key_reused", sent=False
        )


class PlanFailed(CallError):
    """Every route failed. Speaks with the most useful failure's words, and lists all attempts."""

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


def told(error: CallError) -> dict[str, Any]:
    """An error as values that JSON carries to another process."""
    return {
        "kind": error.kind.value,
        "message": error.message,
        "status": error.status,
        "code": error.code,
        "param": error.param,
        "retry_after": error.retry_after,
        "per_model": error.per_model,
    }


def restored[T: CallError](fields: Mapping[str, Any], kind: type[T]) -> T:
    """The error that another process told of."""
    return kind(
        ErrorKind(fields["kind"]),
        fields["message"],
        status=fields["status"],
        code=fields["code"],
        param=fields.get("param") or "",
        retry_after=fields["retry_after"],
        per_model=bool(fields.get("per_model")),
    )


# A prompt that the vendor's moderation refused: OpenRouter's 403 gives nothing but the reasons.
MODERATED = "moderated"

# Codes for a model that is not there; Z.ai's is 1211.
NO_SUCH_MODEL = frozenset({"model_not_found", "1211"})

# Body codes that say more than the status: the vendors' own, which their presets list, and those of
# the two formats. A code tells its vendor, so all are known everywhere: a proxy passes them on.
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
    "context_length_exceeded": ErrorKind.REQUEST,
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
# OpenAI's type of all that is no server error: a 401 without a key has no other code.
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

# Statuses whose meaning the body's code may narrow; elsewhere the status is believed.
_CODE_DECIDES = frozenset({200, 400, 401, 403, 429, 500})


def classify(status: int | None, code: str = "") -> ErrorKind:
    """The kind of a failed answer. Status None or 200 means an error inside a good envelope."""
    inside = status in (None, 200)
    if (inside or (status in _CODE_DECIDES and code not in _GENERIC)) and code in _BY_CODE:
        return _BY_CODE[code]
    if status is None or status < 400:
        return ErrorKind.PROVIDER
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ErrorKind.REQUEST if status < 500 else ErrorKind.PROVIDER
