"""What a diagnosis is made of: the evidence of a failed call, its cause in plain words, the fix.

A fix is a form field and its new value, nothing else.
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
    """What is known of one failed step: the error, and the form it was tried with.

    `succeeded` names the steps that went well on the same route; `location` is where a redirect
    leads; `in_container` is whether this program runs in one, where localhost means something else.
    """

    method: Method
    step: str
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
        """The address that this route called."""
        if self.method == Method.GATEWAY and self.gateway_endpoint:
            return self.gateway_endpoint
        return self.base_url

    @property
    def address_field(self) -> str:
        """The form's field that holds that address."""
        through_proxy = self.method == Method.GATEWAY and self.gateway_endpoint
        return "gateway_endpoint" if through_proxy else "base_url"


@frozen
class Fix:
    """A field of the provider's form and the value that mends it."""

    field: str
    value: str
    label: str


@frozen
class Diagnosis:
    """`title` is the failure in a line, `cause` why, `advice` what to do; seconds to wait."""

    title: str
    cause: str
    advice: str
    fix: Fix | None = None
    retry_after: float | None = None


type Words = Callable[[FailureContext], Diagnosis]


def said(e: FailureContext) -> str:
    """The error's own words, as a sentence."""
    message = e.error.message.strip() or e.error.kind.value
    return message if message.endswith((".", "!", "?")) else f"{message}."


def static(title: str, cause: str, advice: str) -> Words:
    """A cause whose words are always the same."""
    return lambda e: Diagnosis(
        title=title, cause=cause, advice=advice, retry_after=e.error.retry_after
    )
