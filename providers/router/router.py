"""Ask for one answer: over the plan's routes, or, where all have failed, from an earlier day.

The one front of everything behind it. The caller sees nothing until there is content, and then
always which route it came by and why.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from django.utils import timezone

from providers.domain.errors import ErrorKind, PlanFailed
from providers.domain.types import (
    ChatRequest,
    Completed,
    Finish,
    RouteTaken,
    StreamEvent,
    TextDelta,
    Usage,
)
from providers.infra import metrics
from providers.protocols import estimates
from providers.router import answer_cache, route_table
from providers.router.answer_cache import Earlier
from providers.router.call import Call
from providers.router.executor import RouteExecutor

__all__ = ["Call", "stream"]


async def stream(
    call: Call, request: ChatRequest, *, announces: bool = False
) -> AsyncGenerator[StreamEvent]:
    """RouteTaken, then the provider's events, then Completed; PlanFailed where no route answered.

    With `announces`, AttemptStarted comes first, once for each call that goes out.
    Closing the generator closes the upstream's connection and records the attempt as stopped.
    Raises django.db.Error where this process never could read the providers.
    """
    async with aclosing(reads(call, request, announces=announces)) as found:
        async for events in found:
            for event in events:
                yield event


async def reads(
    call: Call, request: ChatRequest, *, announces: bool = False
) -> AsyncGenerator[list[StreamEvent]]:
    """The same, with what came together in one piece."""
    executor = RouteExecutor(route_table.current(), call, request, announces)
    with metrics.in_flight(call.purpose):
        try:
            await executor.begin()
            while not executor.answered:
                async with aclosing(executor.attempt(await executor.next_route())) as events:
                    async for together in events:
                        yield together
            await _remember(executor)
        except PlanFailed as failed:
            if (said := await _said_earlier(executor, failed)) is None:
                raise
            yield _repeat(executor, said)
        finally:
            executor.finish()


async def _remember(executor: RouteExecutor) -> None:
    """A good answer in words may stand in for one that cannot be had, where that is switched on."""
    tracker, call = executor.tracker, executor.call
    if tracker and tracker.keeps and not tracker.error and not tracker.calls_tools:
        await answer_cache.keep(
            _caller(call),
            call.provider_id,
            call.model_id,
            executor.request,
            "".join(tracker.text),
            tracker.finish_reason,
        )


async def _said_earlier(executor: RouteExecutor, failed: PlanFailed) -> Earlier | None:
    """What the same caller was told before; a request that is itself wrong has no answer."""
    if failed.kind == ErrorKind.REQUEST:
        return None
    call = executor.call
    return await answer_cache.find(_caller(call), call.provider_id, call.model_id, executor.request)


def _caller(call: Call) -> str:
    return answer_cache.caller(call.user_id, call.client_key)


def _repeat(executor: RouteExecutor, said: Earlier) -> list[StreamEvent]:
    """The earlier answer as events, marked as what it is."""
    asked = executor.candidates[executor.call.provider_id]
    taken = RouteTaken(
        route_id=0,
        method=executor.plan.preferred,
        provider_name=asked.name,
        provider_slug=asked.slug,
        model=asked.model_id,
        reason=said.sentence(timezone.now()),
        fallback=True,
        ttft_ms=round((time.monotonic() - executor.began) * 1000),
        attempts=len(executor.attempts),
        earlier=True,
    )
    ended = Completed(
        attempts=tuple(executor.attempts),
        usage=Usage(output_tokens=estimates.tokens(len(said.text)), estimated=True),
        cost=None,
        finish_reason=said.finish_reason,
    )
    return [taken, TextDelta(text=said.text), Finish(reason=said.finish_reason), ended]
