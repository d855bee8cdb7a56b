"""Pass a request of another endpoint than chat through to a target, and its answer back.

A provider or a LiteLLM proxy that has no such path is remembered for a while, so that no request is
spent on it: its chats are not concerned.
"""

import re
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from providers.clients import direct, gateway, http
from providers.clients.answer_reader import HTML_MESSAGE
from providers.clients.deadlines import Deadlines
from providers.domain.errors import ENDPOINT_MISSING, NO_SUCH_MODEL, CallError, ErrorKind
from providers.domain.passed_body import PassedBody
from providers.domain.redaction import redacted_errors
from providers.domain.types import ClientEvent, Kind, Method, Target
from providers.protocols.endpoint_kinds import ENDPOINTS, EndpointKind
from providers.protocols.passed_answers import AnswerForm, choose_form

FORGET_AFTER = 600.0  # seconds; an upstream may get the path
MAX_REMEMBERED = 1000
_MISSING_STATUSES = frozenset({404, 405, 501})
_NAMES_MODEL = re.compile(r"\bmodels?\b", re.I)

type _Key = tuple[str, str]

# Addresses without a path, and until when that is believed (monotonic seconds).
_missing: dict[_Key, float] = {}


def cannot_carry(target: Target, endpoint: str) -> str:
    """Why a route cannot carry this endpoint's requests, as far as is known; empty where it may."""
    noun = ENDPOINTS[endpoint].noun
    if target.method == Method.DIRECT and target.kind == Kind.ANTHROPIC:
        return f"Anthropic's API has no {noun}"
    if target.upstream is not None:
        return f"the gateway process carries no {noun}"
    until = _missing.get((target.base_url, endpoint)) if _missing else None
    if until and until > time.monotonic():
        return f"its address has no /{endpoint}"
    return ""


async def stream(
    target: Target, passed: PassedBody, *, non_streaming: bool
) -> AsyncGenerator[list[ClientEvent]]:
    """The pieces of one answer, in one where it is not streamed. Raises CallError."""
    endpoint = ENDPOINTS[passed.endpoint]
    deadlines = Deadlines(target.timeouts, whole=non_streaming)
    reported = False
    with _attribute_errors(target), redacted_errors(target), _missing_paths(target, endpoint):
        headers = direct.request_headers(target) | {"content-type": passed.content_type}
        body = passed.with_model(target.model)
        call = http.HttpCall(
            "POST", _url(target, endpoint), headers=headers, body=body, deadlines=deadlines
        )
        try:
            async with call as response:
                if call.died_at:
                    reported = True
                    yield [direct.resent(call)]
                await direct.raise_for_status(response, deadlines)
                content_type = response.headers.get("content-type", "")
                _refuse_page(content_type)
                form = choose_form(endpoint, content_type, non_streaming=non_streaming)
                async for events in _read(response, deadlines, form):
                    yield events
        except CallError:
            if call.died_at and not reported:
                yield [direct.resent(call)]
            raise


def _refuse_page(content_type: str) -> None:
    """No endpoint answers with a web page: it is that of a sign-in or of a wrong address."""
    if content_type.partition(";")[0].strip().lower() == "text/html":
        raise CallError(ErrorKind.PROVIDER, HTML_MESSAGE, status=200, code="html")


async def _read(
    response: http.Response, deadlines: Deadlines, form: AnswerForm
) -> AsyncGenerator[list[ClientEvent]]:
    """The answer's pieces. It was cut where the form says so, or the connection does."""
    while not form.done and (chunk := await deadlines.wait(direct.read_chunk(response))):
        if events := form.feed(chunk):
            deadlines.begun = deadlines.heard = True
            yield events
    if events := form.end():
        yield events


def _url(target: Target, endpoint: EndpointKind) -> str:
    is_direct = target.method == Method.DIRECT
    base = target.base_url.rstrip("/") if is_direct else gateway.base_url(target)
    return f"{base}/{endpoint.path}"


def _attribute_errors(target: Target) -> AbstractContextManager[None]:
    return nullcontext() if target.method == Method.DIRECT else gateway.attributed_errors(target)


@contextmanager
def _missing_paths(target: Target, endpoint: EndpointKind) -> Iterator[None]:
    """An error that says that the path is missing, and not the model, becomes one of its own."""
    try:
        yield
    except CallError as error:
        if not _is_missing_path(error):
            raise
        _remember_missing(target, endpoint)
        message = f"The provider has no /{endpoint.path}."
        raise CallError(ErrorKind.REQUEST, message, code=ENDPOINT_MISSING) from error


def _is_missing_path(error: CallError) -> bool:
    if error.status not in _MISSING_STATUSES or error.code in NO_SUCH_MODEL:
        return False
    return error.param != "model" and not _NAMES_MODEL.search(error.message)


def _remember_missing(target: Target, endpoint: EndpointKind) -> None:
    if len(_missing) >= MAX_REMEMBERED:
        _missing.clear()
    _missing[target.base_url, endpoint.path] = time.monotonic() + FORGET_AFTER
