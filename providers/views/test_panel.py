"""A test as the page shows it: stages as they finish, the verdict, requests and responses."""

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
from providers.domain.errors import CallError, RunInterrupted
from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.forms import ProviderForm
from providers.protocols import sse

_LABELS: Mapping[StageName, str] = {
    "address": "Address",
    "dns": "DNS lookup",
    "tcp": "TCP connection",
    "tls": "TLS",
    "auth": "API key",
    "models": "Model list",
    "chat": "Test chat",
    "streaming": "Streaming",
    "usage": "Token counts",
    "limits": "Rate limits",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "tools": "tools",
    "response_format": "response_format",
    "reasoning_effort": "reasoning_effort",
}
TITLES = {Method.DIRECT: "Direct", Method.GATEWAY: "Gateway"}


@frozen
class Line:
    """One stage as the checklist shows it."""

    method: str
    name: str
    label: str
    state: str = "pending"
    detail: str = ""
    ms: int | None = None


@dataclass(slots=True, kw_only=True)
class TestPanel:
    """A test in progress. `problems` are why it could not run; `compact` folds the stages, as in a
    card."""

    draft: Draft | None
    element_id: str
    fix_url: str
    form: ProviderForm | None = None
    problems: list[str] = field(default_factory=list)
    methods: tuple[Method, ...] = tuple(Method)
    names: tuple[StageName, ...] = STAGES
    compact: bool = False
    good: str = "It works over both connections"
    ended: dict[tuple[Method, StageName], Stage] = field(default_factory=dict)

    @property
    def columns(self) -> list[tuple[str, list[Line]]]:
        return [
            (TITLES[m], [self._stage_line(m, name) for name in self.names]) for m in self.methods
        ]

    def _stage_line(self, method: Method, name: StageName) -> Line:
        stage = self.ended.get((method, name))
        return _line(stage) if stage else Line(method=method, name=name, label=_LABELS[name])

    def add(self, stage: Stage) -> Line:
        self.ended[stage.method, stage.name] = stage
        return _line(stage)

    @property
    def exchanges(self) -> list[tuple[str, Exchange]]:
        """The requests with their responses, each once."""
        exchanges = {
            f"{TITLES[method]}: {stage.exchange.request_line}": stage.exchange
            for (method, _), stage in sorted(self.ended.items(), key=_stage_order)
            if stage.exchange
        }
        return list(exchanges.items())

    def verdict(self) -> diagnose.Verdict:
        if self.draft is None or self.problems:
            return diagnose.Verdict(tone="error", title="Not tested: " + " ".join(self.problems))
        results = tuple(self._result(method) for method in self.methods)
        return diagnose.summarize(results, partial(self._failure, self.draft), self.good)

    def _result(self, method: Method) -> diagnose.MethodReport:
        stages = [stage for (each, _), stage in self.ended.items() if each == method]
        states = [(stage.state, stage.name, stage.error) for stage in stages]
        return diagnose.MethodReport(
            method=method,
            succeeded=frozenset(name for state, name, _ in states if state in ("ok", "warn")),
            failed=tuple((n, error) for state, n, error in states if error and state == "failed"),
            remarks=tuple((n, error) for state, n, error in states if error and state == "warn"),
        )

    def _failure(
        self, draft: Draft, result: diagnose.MethodReport, step: str, error: CallError
    ) -> FailureContext:
        connection = draft.connection
        stages = (stage for stage in self.ended.values() if stage.method == result.method)
        exchange = next((stage.exchange for stage in stages if stage.name == step), None)
        return FailureContext(
            method=result.method,
            stage=step,
            error=error,
            base_url=connection.base_url,
            gateway_endpoint=connection.endpoint,
            preset=connection.preset,
            kind=connection.kind,
            has_key=bool(connection.api_key),
            model_id=draft.model_id,
            succeeded=result.succeeded,
            location=exchange.header("location") if exchange else "",
            in_container=in_container(),
        )


def _line(stage: Stage) -> Line:
    return Line(
        method=stage.method,
        name=stage.name,
        label=_LABELS[stage.name],
        state=stage.state,
        detail=stage.detail,
        ms=stage.ms,
    )


type Stages = Callable[[], AsyncGenerator[Stage]] | None


def stream_test(panel: TestPanel, stages: Stages) -> StreamingHttpResponse:
    """Stream the test to htmx. The caller must have released its database connection."""
    return StreamingHttpResponse(
        _events(panel, stages), content_type="text/event-stream", headers=sse.HEADERS
    )


async def run_test(panel: TestPanel, stages: Stages) -> None:
    """Run the test to its end; the panel holds the results."""
    async with aclosing(_lines(panel, stages)) as lines:
        async for _ in lines:
            pass


async def _lines(panel: TestPanel, stages: Stages) -> AsyncGenerator[Line]:
    """Run the test and yield each line that changes."""
    if stages:
        try:
            async with aclosing(stages()) as results:
                async for stage in results:
                    yield panel.add(stage)
        except RunInterrupted:
            panel.problems.append("The process that ran this test stopped. Test again.")


async def _events(panel: TestPanel, stages: Stages) -> AsyncGenerator[bytes]:
    yield _event("panel", panel, {})
    async with aclosing(_lines(panel, stages)) as lines:
        async for line in lines:
            yield _event("step", panel, {"line": line})
    yield _event("verdict", panel, {"verdict": panel.verdict()})
    yield sse.encode("", event="done")


def _event(partial_name: str, panel: TestPanel, more: dict[str, object]) -> bytes:
    html = render_to_string(f"providers/test.html#{partial_name}_event", context(panel) | more)
    return sse.encode(html.strip())


def context(panel: TestPanel) -> dict[str, object]:
    """The context of test.html, except the verdict at the end."""
    return {"panel": panel, "columns": panel.columns}


def _stage_order(entry: tuple[tuple[Method, StageName], Stage]) -> tuple[int, int]:
    (method, name), _ = entry
    return list(Method).index(method), list(_LABELS).index(name)


def in_container() -> bool:
    """Whether this program runs in a container, where localhost is the container itself."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
