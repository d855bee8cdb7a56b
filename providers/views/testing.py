"""The test that diagnoses: a checklist streamed as it happens, then the cause and the fix.

It runs on the form as typed, with the stored key where none was typed, or on the stored provider.
All storage is read in one function before the stream begins, and its connection given back.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
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

from providers import addresses, diagnosis, probing, snapshot, sse
from providers.causes import Evidence
from providers.errors import CallError, FlightBroken
from providers.forms import ProviderForm
from providers.models import Provider
from providers.types import Method
from providers.views import pages
from providers.views.access import Request, require_staff

_TESTED = ("kind", "base_url", "api_key", "extra_headers", "gateway_endpoint", "gateway_api_key")
_STEPS = ("connect", "models", "chat")
_WORDS = {"connect": "Connection", "models": "List of models", "chat": "One short chat"}


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

    draft: probing.Draft | None
    panel: str
    fix_url: str
    form: ProviderForm | None = None
    problems: list[str] = field(default_factory=list)
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    succeeded: dict[Method, set[str]] = field(default_factory=lambda: {m: set() for m in Method})
    failed: dict[Method, list[tuple[str, CallError]]] = field(
        default_factory=lambda: {m: [] for m in Method}
    )

    def __post_init__(self) -> None:
        for method in Method:
            for name in _STEPS:
                line = Line(method=method.value, name=name, words=_WORDS[name])
                self.lines[method.value, name] = line

    @property
    def roads(self) -> list[tuple[str, list[Line]]]:
        titles = {Method.DIRECT: "Direct", Method.GATEWAY: "Through the gateway"}
        return [(titles[m], [self.lines[m.value, name] for name in _STEPS]) for m in Method]

    def take(self, step: probing.Step) -> Line:
        line = Line(
            method=step.method.value,
            name=step.name,
            words=_WORDS[step.name],
            state=step.state,
            detail=step.detail,
            ms=step.ms,
        )
        self.lines[step.method.value, step.name] = line
        if step.state == "ok":
            self.succeeded[step.method].add(step.name)
        if step.error:
            self.failed[step.method].append((step.name, step.error))
        return line

    def verdict(self) -> diagnosis.Verdict:
        if self.draft is None or self.problems:
            return diagnosis.Verdict(tone="error", title="Not tested: " + " ".join(self.problems))
        roads = tuple(
            diagnosis.Road(
                method=method,
                succeeded=frozenset(self.succeeded[method]),
                failed=tuple(self.failed[method]),
            )
            for method in Method
        )
        return diagnosis.verdict(roads, partial(_evidence, self.draft))


def _evidence(draft: probing.Draft, road: diagnosis.Road, step: str, error: CallError) -> Evidence:
    connection = draft.connection
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
        in_container=in_container(),
    )


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


def _stored(provider: Provider) -> probing.Draft:
    model_id = _model_to_ask(provider)
    return probing.Draft(
        connection=snapshot.connection(provider),
        model_id=model_id,
        stored=snapshot.load_one(provider.pk, model_id),
    )


def _typed(form: ProviderForm, provider: Provider | None) -> probing.Draft:
    typed = form.connection()
    if provider is None:
        return probing.Draft(connection=typed)
    stored = Provider.objects.get(pk=provider.pk)
    if snapshot.connection(stored) == typed:
        return _stored(stored)
    return probing.Draft(connection=typed, model_id=_model_to_ask(stored))


def _model_to_ask(provider: Provider) -> str:
    """One that is known to chat (it takes tools), the cheapest; else the first of the list."""
    models = provider.language_models.filter(enabled=True, missing_since=None)
    ordered = models.order_by("-tools", F("input_price").asc(nulls_last=True), "name")
    return ordered.values_list("model_id", flat=True).first() or ""


async def _lines(sheet: Sheet) -> AsyncGenerator[Line]:
    """Runs the test and gives each line as it changes."""
    if sheet.draft:
        try:
            async with aclosing(probing.check(sheet.draft)) as steps:
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
    return sse.encode("\n".join(line for line in html.splitlines() if line.strip()))


def _context(sheet: Sheet) -> dict[str, object]:
    host = addresses.host(sheet.draft.connection.base_url) if sheet.draft else ""
    return {"sheet": sheet, "roads": sheet.roads, "host": host}


def _whole_page(request: Request, sheet: Sheet, slug: str) -> HttpResponse:
    shown = {**_context(sheet), "verdict": sheet.verdict()}
    if sheet.form:
        return pages.form_again(request, sheet.form, 200, **shown)
    provider = Provider.objects.get(slug=slug)
    form = ProviderForm(instance=provider)
    context = pages.detail_context(request, provider, form) | shown
    return render(request, "providers/detail.html", context)
