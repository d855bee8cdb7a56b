"""The test that diagnoses: a checklist streamed as it happens, then the cause and the fix.

It runs on the form as typed, with the stored key where none was typed, or on the stored provider.
All storage is read in one function before the stream begins, and its connection given back.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST

from providers import checklist, diagnosis, snapshot, sse
from providers.causes import Evidence
from providers.errors import CallError, FlightBroken
from providers.forms import ProviderForm
from providers.models import Provider
from providers.stages import STAGES, Draft, Stage, StageName
from providers.transcript import Exchange
from providers.types import Method
from providers.views import pages
from providers.views.access import Request, require_staff

_ADDRESSES = ("base_url", "gateway_endpoint")
_TESTED = ("kind", "api_key", "extra_headers", "gateway_api_key", "environment_key")
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
}
_TITLES = {Method.DIRECT: "Direct", Method.GATEWAY: "Through the gateway"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the checklist as it is shown."""

    method: str
    name: str
    words: str
    state: str = "pending"
    detail: str = ""
    ms: int | None = None


@dataclass(slots=True, kw_only=True)
class Sheet:
    """A test as far as it has come. `problems` are why it came no further."""

    draft: Draft | None
    panel: str
    fix_url: str
    form: ProviderForm | None = None
    problems: list[str] = field(default_factory=list)
    ended: dict[tuple[Method, StageName], Stage] = field(default_factory=dict)

    @property
    def roads(self) -> list[tuple[str, list[Line]]]:
        return [(_TITLES[m], [self._line(m, name) for name in STAGES]) for m in Method]

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
            f"{_TITLES[method]}: {stage.exchange.asked}": stage.exchange
            for (method, _), stage in sorted(self.ended.items(), key=_in_order)
            if stage.exchange
        }
        return list(seen.items())

    def verdict(self) -> diagnosis.Verdict:
        if self.draft is None or self.problems:
            return diagnosis.Verdict(tone="error", title="Not tested: " + " ".join(self.problems))
        roads = tuple(self._road(method) for method in Method)
        return diagnosis.verdict(roads, partial(self._evidence, self.draft))

    def _road(self, method: Method) -> diagnosis.Road:
        stages = [stage for (road, _), stage in self.ended.items() if road == method]
        told = [(stage.state, stage.name, stage.error) for stage in stages]
        return diagnosis.Road(
            method=method,
            succeeded=frozenset(name for state, name, _ in told if state in ("ok", "warn")),
            failed=tuple((n, error) for state, n, error in told if error and state == "failed"),
            remarks=tuple((n, error) for state, n, error in told if error and state == "warn"),
        )

    def _evidence(
        self, draft: Draft, road: diagnosis.Road, step: str, error: CallError
    ) -> Evidence:
        connection = draft.connection
        stages = (stage for stage in self.ended.values() if stage.method == road.method)
        exchange = next((stage.exchange for stage in stages if stage.name == step), None)
        return Evidence(
            method=road.method,
            step=step,
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


def _in_order(found: tuple[tuple[Method, StageName], Stage]) -> tuple[int, int]:
    (method, name), _ = found
    return list(Method).index(method), STAGES.index(name)


def in_container() -> bool:
    """Whether this program runs in one, where localhost means something else."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


@require_POST
async def run(request: Request, slug: str = "") -> HttpResponse | StreamingHttpResponse:
    """Streams to htmx; without it, the page comes when all is done."""
    sheet = await sync_to_async(_open)(request, slug)
    if request.htmx:
        return StreamingHttpResponse(
            _events(sheet), content_type="text/event-stream", headers=sse.HEADERS
        )
    async with aclosing(_lines(sheet)) as lines:
        async for _ in lines:
            pass  # the sheet keeps them
    return await sync_to_async(_whole_page)(request, sheet, slug)


def _open(request: HttpRequest, slug: str) -> Sheet:
    """Checks who asks and reads what is stored; afterwards no connection is held."""
    try:
        require_staff(request)
        return _sheet(request, slug)
    finally:
        connections.close_all()


def _sheet(request: HttpRequest, slug: str) -> Sheet:
    provider = Provider.objects.filter(slug=slug).first()
    if slug and provider is None:
        raise Http404
    if provider and "base_url" not in request.POST:
        return Sheet(
            draft=_stored(provider),
            panel=f"test-{slug}",
            fix_url=reverse("providers:apply-fix", args=[slug]),
        )
    form = ProviderForm(request.POST, instance=provider)
    url = reverse("providers:fix" if slug else "providers:fix-new", args=[slug] if slug else [])
    problems = [str(e) for name in _TESTED for e in form.errors.get(name, [])]
    draft = None if problems else _typed(form, provider)
    return Sheet(draft=draft, panel="test", fix_url=url, form=form, problems=problems)


def _stored(provider: Provider) -> Draft:
    model_id = _model_to_ask(provider)
    return Draft(
        connection=snapshot.connection(provider),
        model_id=model_id,
        stored=snapshot.load_one(provider.pk, model_id),
    )


def _typed(form: ProviderForm, provider: Provider | None) -> Draft:
    """What stands in the form. A bad address is kept as typed: it is the test's first finding, and
    with it nobody is called."""
    for name in _ADDRESSES:
        form.cleaned_data.setdefault(name, str(form[name].value() or "").strip())
    typed = form.connection()
    changes = form.changes.get("base_url", ())
    if provider is None:
        return Draft(connection=typed, changes=changes)
    stored = Provider.objects.get(pk=provider.pk)
    if snapshot.connection(stored) == typed:
        return replace(_stored(stored), changes=changes)
    return Draft(connection=typed, model_id=_model_to_ask(stored), changes=changes)


def _model_to_ask(provider: Provider) -> str:
    """One that is known to chat (it takes tools), the cheapest; else the first of the list."""
    models = provider.language_models.filter(enabled=True, missing_since=None)
    ordered = models.order_by("-tools", F("input_price").asc(nulls_last=True), "name")
    return ordered.values_list("model_id", flat=True).first() or ""


async def _lines(sheet: Sheet) -> AsyncGenerator[Line]:
    """Runs the test and gives each line as it changes."""
    if sheet.draft:
        try:
            async with aclosing(checklist.check(sheet.draft)) as steps:
                async for step in steps:
                    yield sheet.take(step)
        except FlightBroken:
            sheet.problems.append("The process that ran this test ended. Test again.")


async def _events(sheet: Sheet) -> AsyncGenerator[bytes]:
    yield _event("panel", sheet, {})
    async with aclosing(_lines(sheet)) as lines:
        async for line in lines:
            yield _event("step", sheet, {"line": line})
    yield _event("verdict", sheet, {"verdict": sheet.verdict()})
    yield sse.encode("", event="done")


def _event(partial_name: str, sheet: Sheet, context: dict[str, object]) -> bytes:
    html = render_to_string(f"providers/test.html#{partial_name}_event", _context(sheet) | context)
    return sse.encode(html.strip())


def _context(sheet: Sheet) -> dict[str, object]:
    return {"sheet": sheet, "roads": sheet.roads}


def _whole_page(request: Request, sheet: Sheet, slug: str) -> HttpResponse:
    shown = {**_context(sheet), "verdict": sheet.verdict()}
    if sheet.form:
        return pages.form_again(request, sheet.form, 200, **shown)
    provider = Provider.objects.get(slug=slug)
    form = ProviderForm(instance=provider)
    context = pages.detail_context(request, provider, form) | shown
    return render(request, "providers/detail.html", context)
