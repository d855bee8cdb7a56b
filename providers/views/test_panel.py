"""A test as it is shown: its checklist so far, what it amounts to, what was sent and came back."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from django.http import StreamingHttpResponse
from django.template.loader import render_to_string

from providers.clients.recorder import Exchange
from providers.connection_test.draft import Draft
from providers.connection_test.stages import STAGES, Stage, StageName
from providers.diagnosis import diagnose
from providers.diagnosis.types import FailureContext
from providers.domain.errors import CallError, FlightBroken
from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.forms import ProviderForm
from providers.protocols import sse

_WORDS: Mapping[StageName, str] = {
    "address": "Address",
    "dns": "Name",
    "tcp": "Connection",
    "tls": "Encryption",
    "auth": "Key",
    "models": "List of models",
    "chat": "One short chat",
    "streaming": "Streaming",
    "usage": "Token counts",
    "limits": "Rate limits",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "tools": "tools",
    "response_format": "response_format",
    "reasoning_effort": "reasoning_effort",
}
TITLES = {Method.DIRECT: "Direct", Method.GATEWAY: "Through the gateway"}


@frozen
class Line:
    """One line of the checklist as it is shown."""

    method: str
    name: str
    words: str
    state: str = "pending"
    detail: str = ""
    ms: int | None = None


@dataclass(slots=True, kw_only=True)
class TestPanel:
    """A test as far as it has come. `problems` are why it came no further; `compact` is one in a
    card, where the lines are seen when they are asked for."""

    draft: Draft | None
    panel: str
    fix_url: str
    form: ProviderForm | None = None
    problems: list[str] = field(default_factory=list)
    methods: tuple[Method, ...] = tuple(Method)
    names: tuple[StageName, ...] = STAGES
    compact: bool = False
    good: str = "It works over both connections"
    ended: dict[tuple[Method, StageName], Stage] = field(default_factory=dict)

    @property
    def roads(self) -> list[tuple[str, list[Line]]]:
        return [(TITLES[m], [self._line(m, name) for name in self.names]) for m in self.methods]

    def _line(self, method: Method, name: StageName) -> Line:
        stage = self.ended.get((method, name))
        return _line(stage) if stage else Line(method=method, name=name, words=_WORDS[name])

    def take(self, stage: Stage) -> Line:
        self.ended[stage.method, stage.name] = stage
        return _line(stage)

    @property
    def exchanges(self) -> list[tuple[str, Exchange]]:
        """What was sent and what came back, each call once."""
        seen = {
            f"{TITLES[method]}: {stage.exchange.asked}": stage.exchange
            for (method, _), stage in sorted(self.ended.items(), key=_in_order)
            if stage.exchange
        }
        return list(seen.items())

    def verdict(self) -> diagnose.Verdict:
        if self.draft is None or self.problems:
            return diagnose.Verdict(tone="error", title="Not tested: " + " ".join(self.problems))
        roads = tuple(self._road(method) for method in self.methods)
        return diagnose.summarize(roads, partial(self._evidence, self.draft), self.good)

    def _road(self, method: Method) -> diagnose.MethodReport:
        stages = [stage for (road, _), stage in self.ended.items() if road == method]
        told = [(stage.state, stage.name, stage.error) for stage in stages]
        return diagnose.MethodReport(
            method=method,
            succeeded=frozenset(name for state, name, _ in told if state in ("ok", "warn")),
            failed=tuple((n, error) for state, n, error in told if error and state == "failed"),
            remarks=tuple((n, error) for state, n, error in told if error and state == "warn"),
        )

    def _evidence(
        self, draft: Draft, road: diagnose.MethodReport, step: str, error: CallError
    ) -> FailureContext:
        connection = draft.connection
        stages = (stage for stage in self.ended.values() if stage.method == road.method)
        exchange = next((stage.exchange for stage in stages if stage.name == step), None)
        return FailureContext(
            method=road.method,
            stage=step,
            error=error,
            base_url=connection.base_url,
            gateway_endpoint=connection.endpoint,
            preset=connection.preset,
            kind=connection.kind,
            has_key=bool(connection.api_key),
            model_id=draft.model_id,
            succeeded=road.succeeded,
            location=exchange.header("location") if exchange else "",
            in_container=in_container(),
        )


def _line(stage: Stage) -> Line:
    return Line(
        method=stage.method,
        name=stage.name,
        words=_WORDS[stage.name],
        state=stage.state,
        detail=stage.detail,
        ms=stage.ms,
    )


type Stages = Callable[[], AsyncGenerator[Stage]] | None


def streamed(sheet: TestPanel, stages: Stages) -> StreamingHttpResponse:
    """The test as it goes on, for htmx. It must hold no connection to the database any more."""
    return StreamingHttpResponse(
        _events(sheet, stages), content_type="text/event-stream", headers=sse.HEADERS
    )


async def finished(sheet: TestPanel, stages: Stages) -> None:
    """The test to its end; the sheet keeps what it told."""
    async with aclosing(_lines(sheet, stages)) as lines:
        async for _ in lines:
            pass


async def _lines(sheet: TestPanel, stages: Stages) -> AsyncGenerator[Line]:
    """Runs the test and gives each line as it changes."""
    if stages:
        try:
            async with aclosing(stages()) as told:
                async for stage in told:
                    yield sheet.take(stage)
        except FlightBroken:
            sheet.problems.append("The process that ran this test ended. Test again.")


async def _events(sheet: TestPanel, stages: Stages) -> AsyncGenerator[bytes]:
    yield _event("panel", sheet, {})
    async with aclosing(_lines(sheet, stages)) as lines:
        async for line in lines:
            yield _event("step", sheet, {"line": line})
    yield _event("verdict", sheet, {"verdict": sheet.verdict()})
    yield sse.encode("", event="done")


def _event(partial_name: str, sheet: TestPanel, more: dict[str, object]) -> bytes:
    html = render_to_string(f"providers/test.html#{partial_name}_event", context(sheet) | more)
    return sse.encode(html.strip())


def context(sheet: TestPanel) -> dict[str, object]:
    """What test.html needs, beside the verdict at the end."""
    return {"sheet": sheet, "roads": sheet.roads}


def _in_order(found: tuple[tuple[Method, StageName], Stage]) -> tuple[int, int]:
    (method, name), _ = found
    return list(Method).index(method), list(_WORDS).index(name)


def in_container() -> bool:
    """Whether this program runs in one, where localhost means something else."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
