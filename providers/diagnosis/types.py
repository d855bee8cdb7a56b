"""The values of a diagnosis: the failure and its context, the cause in words, the fix.

A fix is one form field and its new value, nothing else.
"""

from collections.abc import Callable
from dataclasses import field

from providers.domain.errors import CallError
from providers.domain.frozen import frozen
from providers.domain.types import Kind, Method

AUTH = "Authentication failed - check API key"
NETWORK = "Network error - check endpoint and connection"
ENDPOINT = "Invalid endpoint - check URL format"
RATE_LIMIT = "Rate limit exceeded - try again later"


@frozen
class FailureContext:
    """One failed stage: the error, and the form it was tried with.

    `succeeded` names the stages that succeeded over the same method; `location` is the target of a
    redirect; `in_container`: in a container, localhost is the container itself.
    """

    method: Method
    stage: str
    error: CallError
    base_url: str
    gateway_endpoint: str = ""
    preset: str = "custom"
    kind: Kind = Kind.OPENAI
    has_key: bool = False
    model_id: str = ""
    succeeded: frozenset[str] = field(default_factory=frozenset)
    location: str = ""
    in_container: bool = False

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def address(self) -> str:
        """The address that was called."""
        if self.method == Method.GATEWAY and self.gateway_endpoint:
            return self.gateway_endpoint
        return self.base_url

    @property
    def address_field(self) -> str:
        """The form field of that address."""
        through_proxy = self.method == Method.GATEWAY and self.gateway_endpoint
        return "gateway_endpoint" if through_proxy else "base_url"


@frozen
class Fix:
    """A field of the provider's form, and the value that corrects it."""

    field: str
    value: str
    label: str


@frozen
class Diagnosis:
    """`title` is the failure in a line, `cause` the reason, `advice` what to do, `retry_after` the
    seconds to wait."""

    title: str
    cause: str
    advice: str
    fix: Fix | None = None
    retry_after: float | None = None


type Explain = Callable[[FailureContext], Diagnosis]


def error_sentence(e: FailureContext) -> str:
    """The error's message, as a sentence."""
    message = e.error.message.strip() or e.error.kind.value
    return message if message.endswith((".", "!", "?")) else f"{message}."


def fixed_text(title: str, cause: str, advice: str) -> Explain:
    """A cause with the same text for every failure."""
    return lambda e: Diagnosis(
        title=title, cause=cause, advice=advice, retry_after=e.error.retry_after
    )
