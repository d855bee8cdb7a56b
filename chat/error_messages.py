"""Describe a failed or interrupted answer: what failed on each route, and what to do. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import AttemptRecord

ADVICE: Mapping[ErrorKind, str] = {
    ErrorKind.NETWORK: "Check the provider's address and this server's connection, then try again.",
    ErrorKind.TIMEOUT: "The provider is slow or stuck. Try again, or pick another model.",
    ErrorKind.PROVIDER: "The provider failed. Try again in a moment.",
    ErrorKind.OVERLOADED: "The provider is overloaded. Wait a moment, or pick another model.",
    ErrorKind.RATE_LIMIT: "Too many requests for this key. Wait a little, then try again.",
    ErrorKind.QUOTA: "The account has no credit left, or its plan does not cover this."
    " Check the account, or pick another provider.",
    ErrorKind.AUTH: "Authentication failed - check the provider's API key.",
    ErrorKind.PERMISSION: "The provider refused this model or this prompt for its key."
    " Pick another model, or change the prompt.",
    ErrorKind.REQUEST: "The provider does not accept this request. Pick another model,"
    " or shorten the conversation.",
    ErrorKind.GATEWAY: "Check the gateway's address and key on the provider's page.",
    ErrorKind.UNREADABLE: "An operator has to restore the encryption key, or enter the provider's"
    " API key again.",
    ErrorKind.STOPPED: "Try again.",
}
LOST = "The server was restarted while this answer was being written."


def describe_error(error: CallError, attempts: Iterable[AttemptRecord]) -> dict[str, Any]:
    """The error as JSON for the message's row; the error card shows it."""
    return {
        "kind": error.kind.value,
        "message": error.message,
        "advice": ADVICE[error.kind],
        "attempts": [_describe_attempt(attempt) for attempt in attempts if attempt.failed],
    }


def _describe_attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "method": attempt.method.value if attempt.method else "",
        "endpoint": attempt.endpoint,
        "kind": attempt.outcome,
        "status": attempt.status,
        "message": attempt.error_message,
        "ms": attempt.duration_ms,
    }


def describe_lost_turn(message: str = LOST) -> dict[str, Any]:
    """The error of a turn whose runner ended."""
    return {"kind": "lost", "message": message, "advice": "Try again.", "attempts": []}
