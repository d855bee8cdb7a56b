"""LiteLLM's exceptions as CallErrors: by what caused them, then by status and code.

LiteLLM calls every failed connection a 500 of the provider; what it was stands in the chain of
causes. Nothing here imports LiteLLM: an exception is known by its attributes.
"""

import logging
from collections.abc import Iterator, Mapping

from providers.clients import direct
from providers.clients.answer_reader import HTML_SENTENCE, is_html
from providers.clients.http_errors import network_error
from providers.domain.errors import CallError, GatewayError
from providers.protocols.error_body import ErrorBody, read_error

log = logging.getLogger(__name__)

# What LiteLLM refuses by itself, before any provider was asked: the other route may take it.
_OWN = frozenset({"LiteLLMUnknownProvider", "UnsupportedParamsError", "BudgetExceededError"})


def call_error(exc: BaseException) -> CallError:
    """The CallError of an exception of LiteLLM: by what caused it, then by status and code."""
    # Around what broke off in mid-stream LiteLLM puts a 503 of its own.
    exc = getattr(exc, "original_exception", None) or exc
    if ours := next((link for link in _chain(exc) if isinstance(link, CallError)), None):
        return ours
    if network := _network_cause(exc):
        return network
    if package := _missing_package(exc):
        said = f"LiteLLM needs the Python package {package} for this, and it is not installed."
        return GatewayError(said, status=500, code="litellm_failed")
    status = _status(exc)
    if status is None or type(exc).__name__ in _OWN:
        # No answer of a provider has this shape: a bug, or an option LiteLLM does not know.
        log.warning("litellm_failed problem=%s", type(exc).__name__)
        return GatewayError("LiteLLM could not make this call.", status=500, code="litellm_failed")
    body = next((found for link in _chain(exc) if (found := getattr(link, "body", None))), None)
    said_by = read_error(body or _plain(exc))
    if is_html(said_by.message):
        said_by = ErrorBody(code="html", message=HTML_SENTENCE)
    return direct.refusal(status, _headers(exc), said_by)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and what caused it: LiteLLM keeps less than it was told."""
    seen: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _network_cause(exc: BaseException) -> CallError | None:
    """Refused, DNS, TLS and reset all look like a 500 from LiteLLM; the chain knows better."""
    return next((found for link in _chain(exc) if (found := network_error(link))), None)


def _missing_package(exc: BaseException) -> str | None:
    """LiteLLM imports in the middle of a call, and calls a failure of that the provider's."""
    missing = (link for link in _chain(exc) if isinstance(link, ImportError))
    return next((link.name or "of another version" for link in missing), None)


def _status(exc: BaseException) -> int | None:
    status = str(getattr(exc, "status_code", None) or "")
    return int(status) if status.isdigit() else None


def _plain(exc: BaseException) -> str:
    """LiteLLM's words without its class names in front."""
    text = str(getattr(exc, "message", exc))
    return text.rpartition("Exception - ")[2] or text


def _headers(exc: BaseException) -> Mapping[str, str]:
    """The headers of the provider's answer, which LiteLLM keeps in one place or the other."""
    kept = getattr(exc, "litellm_response_headers", None)
    return kept or getattr(getattr(exc, "response", None), "headers", None) or {}
