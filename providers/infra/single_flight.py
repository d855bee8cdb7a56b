"""Single-flight: one run for all callers that request the same at the same time, in any process.

The callers of one process share one copy of the run, without Redis. The processes share it by a
log in Redis: the first one leads, the others follow it from the beginning. A leader that dies has
one successor; a caller that has had a part of its answer gets RunInterrupted, never two halves of
two answers. Without Redis each process runs once for its own callers. A run is paid for once, not
promised once.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

from providers.domain.errors import KeyReused, RunInterrupted
from providers.event_loop.per_loop import PerLoop
from providers.infra.local_run import LocalRun
from providers.infra.redis_client import RedisUnavailable
from providers.infra.single_flight_leader import Leader, Run
from providers.infra.single_flight_log import (
    FINISHED_LOG_SECONDS,
    CallerRole,
    LeaderLost,
    Log,
    decide,
)

_runs = PerLoop[dict[str, "_Shared"]](dict)


def name(topic: str, *parts: object) -> str:
    """A flight's name: equal for equal parts, and not readable as what they are."""
    return f"{topic}:{_digest(json.dumps(parts, sort_keys=True, default=str).encode())}"


def _digest(value: bytes) -> str:
    return salted_hmac("providers.flights", value, algorithm="sha256").hexdigest()[:32]


def completion(caller: str, key: str, body: bytes, run: Run) -> "SingleFlight":
    """A completion with an `Idempotency-Key`, for one caller.

    The same key again answers what it answered, also for IDEMPOTENCY_KEEP seconds afterwards, and
    joins what is still on its way; with another body it raises KeyReused (422, as the IETF's
    draft-ietf-httpapi-idempotency-key-header-07, section 2.7, has it). Unlike Stripe's, a failure
    reaches those who wait and is then forgotten: the next one with this key tries again.
    """
    run_name, keep = name("completion", caller, key), settings.IDEMPOTENCY_KEEP
    return SingleFlight(run_name, run, of=_digest(body), keep=keep)


async def once(run_name: str, call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call returns, something JSON holds, for all who request it while it is on its way."""

    async def run() -> AsyncGenerator[bytes]:
        yield json.dumps(await call()).encode()

    async with aclosing(join(run_name, run)) as pieces:
        return json.loads(b"".join([piece async for piece in pieces]))


def join(run_name: str, run: Run) -> AsyncGenerator[bytes]:
    """The pieces of a run, from its beginning, whichever process runs it. Raises as
    `SingleFlight.pieces` does."""
    return SingleFlight(run_name, run).pieces()


class SingleFlight:
    """One caller of a run. `keep`: seconds in which a run that ended well also answers later
    callers; `of`: a digest of the request."""

    def __init__(self, run_name: str, run: Run, *, of: str = "", keep: float = 0.0) -> None:
        self._name = run_name
        self._run = run
        self._of = of
        self._keep = keep
        self._shared: _Shared | None = None

    @property
    def is_alone(self) -> bool:
        """Whether Redis was away as the run began, so that other processes do not know of it."""
        return self._shared is not None and self._shared.is_alone

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The run's pieces, from its beginning.

        Raises what the run raised (as a plain CallError where another process ran it),
        RunInterrupted, KeyReused.
        """
        runs = _runs.current()
        shared = runs.get(self._name)
        if shared is None or not shared.is_joinable:
            shared = runs[self._name] = _Shared(self._name, self._run, self._of, self._keep)
        elif shared.of != self._of:
            raise KeyReused
        self._shared = shared
        try:
            async with aclosing(shared.local.read()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            if shared.local.has_ended and runs.get(self._name) is shared:
                _forget(runs, self._name, shared)


def _forget(runs: "dict[str, _Shared]", run_name: str, shared: "_Shared") -> None:
    """Forgets a run that is over; at once, unless this process alone knows its answer."""

    def forget() -> None:
        if runs.get(run_name) is shared:
            del runs[run_name]

    if shared.is_joinable:
        asyncio.get_running_loop().call_later(FINISHED_LOG_SECONDS, forget)
    else:
        forget()


class _Shared:
    """A run as this process has it: led, followed, or run for its own callers alone."""

    def __init__(self, run_name: str, run: Run, of: str, keep: float) -> None:
        self._log = Log(run_name)
        self._run = run
        self._keep = keep
        self.of = of
        self.is_alone = False
        self.local = LocalRun(self._across())

    @property
    def is_joinable(self) -> bool:
        """Whether a new caller may read it: it is on its way, or ended well and is nowhere else."""
        is_buffered = self.is_alone and self._keep > 0 and self.local.is_complete
        return is_buffered or not self.local.has_ended

    async def _across(self) -> AsyncGenerator[bytes]:
        """The run's pieces, whichever process runs it."""
        heard = False
        while (state := await self._decide())[0] is CallerRole.FOLLOWER:
            try:
                async with aclosing(self._log.read_pieces(state[1])) as pieces:
                    async for piece in pieces:
                        heard = True
                        yield piece
                return
            except LeaderLost as lost:
                if heard:
                    raise RunInterrupted from lost
        async with aclosing(self._own(*state)) as pieces:
            async for piece in pieces:
                yield piece

    async def _decide(self) -> tuple[CallerRole, int]:
        """What this process does, and the generation that it leads or follows."""
        try:
            while True:
                state = await self._log.state()
                role = decide(state, self.of, replay=self._keep > 0)
                if role is CallerRole.FOLLOWER:
                    return role, state.generation
                if await self._log.begin(state.generation + 1, self.of):
                    return role, state.generation + 1
        except RedisUnavailable:
            self.is_alone = True
            return CallerRole.ALONE, 0

    def _own(self, role: CallerRole, generation: int) -> AsyncGenerator[bytes]:
        if role is CallerRole.ALONE:
            return self._run()
        return Leader(
            self._log, generation, self._run, max(self._keep, FINISHED_LOG_SECONDS)
        ).read()
