"""One call over the method of its target: directly, or through a gateway."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from providers.clients import direct, gateway, passthrough
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import ChatRequest, ClientEvent, Method, Target, is_native
from providers.protocols.model_list import ModelList


def stream(target: Target, request: ChatRequest) -> AsyncGenerator[list[ClientEvent]]:
    """The events of one answer, those of each read together. Raises CallError."""
    if request.passed:
        return passthrough.stream(target, request.passed, non_streaming=request.non_streaming)
    if request.native and request.native.translation_error and not is_native(target, request):
        return _refuse_translation(request.native.translation_error)
    if target.method == Method.DIRECT:
        return direct.stream(target, request)
    return gateway.stream(target, request)


async def _refuse_translation(message: str) -> AsyncGenerator[list[ClientEvent]]:
    raise CallError(ErrorKind.REQUEST, message, status=400, code="untranslatable", sent=False)
    yield []


async def stream_events(target: Target, request: ChatRequest) -> AsyncGenerator[ClientEvent]:
    """The same, one event after the other."""
    async with aclosing(stream(target, request)) as reads:
        async for events in reads:
            for event in events:
                yield event


async def list_models(target: Target) -> ModelList:
    """The catalogue. Raises CallError."""
    if target.method == Method.DIRECT:
        return await direct.list_models(target)
    return await gateway.list_models(target)
