"""The test that diagnoses: a checklist streamed as it happens, then the cause and the fix.

It runs on the form as typed, with the stored key where none was typed, or on the stored provider.
All storage is read in one function before the stream begins, and its connection given back.
"""

from dataclasses import replace
from functools import partial

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from providers.connection_test import runner
from providers.connection_test.draft import Draft
from providers.connection_test.provider_test import ProviderTest, pick_chat_model
from providers.forms import ProviderForm
from providers.infra.page_request import PageRequest
from providers.models import Provider
from providers.router import snapshot
from providers.views import pages, test_panel
from providers.views.access import require_staff
from providers.views.test_panel import TestPanel

_ADDRESSES = ("base_url", "gateway_endpoint")
MOST_LOOKED_FOR = 500  # models whose last answer is looked for; the first of the list
_TESTED = ("kind", "api_key", "extra_headers", "gateway_api_key", "environment_key")


@require_POST
async def run(request: PageRequest, slug: str = "") -> HttpResponse | StreamingHttpResponse:
    """Streams to htmx; without it, the page comes when all is done."""
    found = await sync_to_async(_open)(request, slug)
    stages = partial(runner.run, ProviderTest(draft=found.draft)) if found.draft else None
    if request.htmx:
        return test_panel.streamed(found, stages)
    await test_panel.finished(found, stages)
    return await sync_to_async(_whole_page)(request, found, slug)


def _open(request: HttpRequest, slug: str) -> TestPanel:
    """Checks who asks and reads what is stored; afterwards no connection is held."""
    try:
        require_staff(request)
        return _sheet(request, slug)
    finally:
        connections.close_all()


def _sheet(request: HttpRequest, slug: str) -> TestPanel:
    provider = Provider.objects.filter(slug=slug).first()
    if slug and provider is None:
        raise Http404
    if provider and "base_url" not in request.POST:
        return TestPanel(
            draft=_stored(provider),
            panel=f"test-{slug}",
            fix_url=reverse("providers:apply-fix", args=[slug]),
            compact=True,
        )
    form = ProviderForm(request.POST, instance=provider)
    url = reverse("providers:fix" if slug else "providers:fix-new", args=[slug] if slug else [])
    problems = [str(e) for name in _TESTED for e in form.errors.get(name, [])]
    draft = None if problems else _typed(form, provider)
    return TestPanel(draft=draft, panel="test", fix_url=url, form=form, problems=problems)


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
    changes = (*form.changes.get("base_url", ()), *form.changes.get("extra_headers", ()))
    if provider is None:
        return Draft(connection=typed, changes=changes)
    stored = Provider.objects.get(pk=provider.pk)
    if snapshot.connection(stored) == typed:
        return replace(_stored(stored), changes=changes)
    return Draft(connection=typed, model_id=_model_to_ask(stored), changes=changes)


def _model_to_ask(provider: Provider) -> str:
    """The model that answered last; else one that looks as if it chats: it takes tools, or is
    cheap, or comes first."""
    models = provider.language_models.filter(enabled=True, missing_since=None)
    ordered = models.order_by("-tools", F("input_price").asc(nulls_last=True), "name")
    ids = list(ordered.values_list("model_id", flat=True))
    good = provider.attempts.filter(outcome="ok", model_id__in=ids[:MOST_LOOKED_FOR])
    answered = good.order_by("-started_at").values_list("model_id", flat=True).first()
    return answered or pick_chat_model(ids)


def _whole_page(request: PageRequest, found: TestPanel, slug: str) -> HttpResponse:
    shown = {**test_panel.context(found), "verdict": found.verdict()}
    if found.form:
        return pages.form_again(request, found.form, 200, **shown)
    provider = Provider.objects.get(slug=slug)
    form = ProviderForm(instance=provider)
    context = pages.detail_context(request, provider, form) | shown
    return render(request, "providers/detail.html", context)
