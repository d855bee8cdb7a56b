"""LiteLLM's exceptions as CallErrors: by what caused them, then by status and code.

LiteLLM reports every failed connection as a 500 of the provider; the chain of causes shows what it
was. Nothing here imports LiteLLM: exceptions are recognized by their attributes.
"""

import logging
from collections.abc import Iterator, Mapping

from providers.clients import direct
from providers.clients.answer_reader import HTML_MESSAGE, is_html
from providers.clients.http_errors import network_error
from providers.domain.errors import CallError, GatewayError
from providers.protocols.error_body import ErrorBody, read_error

log = logging.getLogger(__name__)

# What LiteLLM refuses by itself, before any provider was asked: the other route may take it.
_REFUSED_BY_LITELLM = frozenset(
    {"LiteLLMUnknownProvider", "UnsupportedParamsError", "BudgetExceededError"}
)


def call_error(exc: BaseException) -> CallError:
    """The CallError of an exception of LiteLLM: by what caused it, then by status and code."""
    # Around what broke off in mid-stream LiteLLM puts a 503 of its own.
    exc = getattr(exc, "original_exception", None) or exc
    if ours := next((link for link in _cause_chain(exc) if isinstance(link, CallError)), None):
        return ours
    if network := _network_cause(exc):
        return network
    if package := _missing_package(exc):
        message = f"LiteLLM needs the Python package {package} for this, and it is not installed."
        return GatewayError(message, status=500, code="litellm_failed")
    status = _status_code(exc)
    if status is None or type(exc).__name__ in _REFUSED_BY_LITELLM:
        # No answer of a provider has this shape: a bug, or an option LiteLLM does not know.
        log.warning("litellm_failed problem=%s", type(exc).__name__)
        return GatewayError("LiteLLM could not make this call.", status=500, code="litellm_failed")
    source = next(
        (each for link in _cause_chain(exc) if (each := getattr(link, "body", None))), None
    )
    body = read_error(source or _plain_message(exc))
    if is_html(body.message):
        body = ErrorBody(code="html", message=HTML_MESSAGE)
    return direct.error_of_body(status, _response_headers(exc), body)


def _cause_chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and its causes: LiteLLM's own exception keeps only a part of them."""
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _network_cause(exc: BaseException) -> CallError | None:
    """Refused, DNS, TLS and reset all look like a 500 from LiteLLM; the chain knows better."""
    return next((cause for link in _cause_chain(exc) if (cause := network_error(link))), None)


def _missing_package(exc: BaseException) -> str | None:
    """LiteLLM imports in the middle of a call, and calls a failure of that the provider's."""
    missing = (link for link in _cause_chain(exc) if isinstance(link, ImportError))
    return next((link.name or "of another version" for link in missing), None)


def _status_code(exc: BaseException) -> int | None:
    status = str(getattr(exc, "status_code", None) or "")
    return int(status) if status.isdigit() else None


def _plain_message(exc: BaseException) -> str:
    """LiteLLM's words without its class names in front."""
    text = str(getattr(exc, "message", exc))
    return text.rpartition("Exception - ")[2] or text


def _response_headers(exc: BaseException) -> Mapping[str, str]:
    """The headers of the provider's answer, which LiteLLM keeps in one place or the other."""
    headers = getattr(exc, "litellm_response_headers", None)
    return headers or getattr(getattr(exc, "response", None), "headers", None) or {}
