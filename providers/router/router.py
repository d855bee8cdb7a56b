"""Request one answer: over the plan's routes, or, where all have failed, from the cache.

The only entry to the router. The caller gets nothing until there is content, and then always with
the route it came over, and why.
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
from providers.router.answer_cache import CachedAnswer
from providers.router.call import Call
from providers.router.executor import RouteExecutor
from providers.router.snapshot import Snapshot

__all__ = ["Call", "stream"]


async def stream(
    call: Call, request: ChatRequest, *, announces: bool = False
) -> AsyncGenerator[StreamEvent]:
    """RouteTaken, then the provider's events, then Completed; PlanFailed where no route answered.

    With `announces`, AttemptStarted comes first, once for each call that goes out.
    Closing the generator closes the upstream's connection and records the attempt as stopped.
    Raises django.db.Error where this process never could read the providers.
    """
    async with aclosing(reads(call, request, announces=announces)) as batches:
        async for events in batches:
            for event in events:
                yield event


async def reads(
    call: Call, request: ChatRequest, *, announces: bool = False, snapshot: Snapshot | None = None
) -> AsyncGenerator[list[StreamEvent]]:
    """Stream the same events, those that came together in one list.

    `snapshot`: the current one, from a caller who has it.
    """
    executor = RouteExecutor(route_table.current(), call, request, announces)
    with metrics.track_in_flight(call.purpose):
        try:
            await executor.begin(snapshot)
            while not executor.answered:
                async with aclosing(executor.attempt(await executor.next_route())) as events:
                    async for together in events:
                        yield together
            await _remember(executor)
        except PlanFailed as failed:
            if (cached := await _find_cached(executor, failed)) is None:
                raise
            yield _replay(executor, cached)
        finally:
            executor.finish()


async def _remember(executor: RouteExecutor) -> None:
    """Cache a good answer in words, for use when every route fails, where that is switched on."""
    tracker, call = executor.tracker, executor.call
    if executor.request.passed:
        return
    if tracker and tracker.keeps and not tracker.error and not tracker.calls_tools:
        await answer_cache.store(
            _caller(call),
            call.provider_id,
            call.model_id,
            executor.request,
            "".join(tracker.text),
            tracker.finish_reason,
        )


async def _find_cached(executor: RouteExecutor, failed: PlanFailed) -> CachedAnswer | None:
    """An earlier answer to the same caller; a request that is itself wrong has none."""
    if failed.kind == ErrorKind.REQUEST or executor.request.passed:
        return None
    call = executor.call
    return await answer_cache.find(_caller(call), call.provider_id, call.model_id, executor.request)


def _caller(call: Call) -> str:
    return answer_cache.caller(call.user_id, call.client_key)


def _replay(executor: RouteExecutor, cached: CachedAnswer) -> list[StreamEvent]:
    """The cached answer as events, marked as such."""
    candidate = executor.candidates[0]
    taken = RouteTaken(
        route_id=0,
        method=executor.plan.preferred,
        provider_name=candidate.name,
        provider_slug=candidate.slug,
        model=candidate.model_id,
        reason=cached.reason(timezone.now()),
        fallback=True,
        ttft_ms=round((time.monotonic() - executor.began) * 1000),
        attempts=len(executor.attempts),
        is_cached=True,
    )
    ended = Completed(
        attempts=tuple(executor.attempts),
        usage=Usage(output_tokens=estimates.tokens(len(cached.text)), estimated=True),
        cost=None,
        finish_reason=cached.finish_reason,
    )
    return [taken, TextDelta(text=cached.text), Finish(reason=cached.finish_reason), ended]
