"""The test of a provider: stages streamed as they finish, then the cause and the fix.

It runs on the form as typed, with the stored key if none is typed, or on the stored provider. All
storage is read before the stream begins: the test holds no database connection.
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

_ADDRESS_FIELDS = ("base_url", "gateway_endpoint")
MAX_MODELS_SEARCHED = 500  # for the one that answered last
_TESTED_FIELDS = ("kind", "api_key", "extra_headers", "gateway_api_key", "environment_key")


@require_POST
async def run(request: PageRequest, slug: str = "") -> HttpResponse | StreamingHttpResponse:
    """Stream the test to htmx; without it, render the page when the test has finished."""
    panel = await sync_to_async(_open)(request, slug)
    stages = partial(runner.run, ProviderTest(draft=panel.draft)) if panel.draft else None
    if request.htmx:
        return test_panel.stream_test(panel, stages)
    await test_panel.run_test(panel, stages)
    return await sync_to_async(_render_page)(request, panel, slug)


def _open(request: HttpRequest, slug: str) -> TestPanel:
    """Check permission and read storage first: the test holds no database connection."""
    try:
        require_staff(request)
        return _build_panel(request, slug)
    finally:
        connections.close_all()


def _build_panel(request: HttpRequest, slug: str) -> TestPanel:
    provider = Provider.objects.filter(slug=slug).first()
    if slug and provider is None:
        raise Http404
    if provider and "base_url" not in request.POST:
        return TestPanel(
            draft=_stored_draft(provider),
            element_id=f"test-{slug}",
            fix_url=reverse("providers:apply-fix", args=[slug]),
            compact=True,
        )
    form = ProviderForm(request.POST, instance=provider)
    url = reverse("providers:fix" if slug else "providers:fix-new", args=[slug] if slug else [])
    problems = [str(e) for name in _TESTED_FIELDS for e in form.errors.get(name, [])]
    draft = None if problems else _typed_draft(form, provider)
    return TestPanel(draft=draft, element_id="test", fix_url=url, form=form, problems=problems)


def _stored_draft(provider: Provider) -> Draft:
    model_id = _pick_model(provider)
    return Draft(
        connection=snapshot.connection(provider),
        model_id=model_id,
        stored=snapshot.load_candidate(provider.pk, model_id),
    )


def _typed_draft(form: ProviderForm, provider: Provider | None) -> Draft:
    """The values of the form. An invalid address is kept as typed: the test reports it and sends
    nothing."""
    for name in _ADDRESS_FIELDS:
        form.cleaned_data.setdefault(name, str(form[name].value() or "").strip())
    typed = form.connection()
    changes = (*form.changes.get("base_url", ()), *form.changes.get("extra_headers", ()))
    if provider is None:
        return Draft(connection=typed, changes=changes)
    stored = Provider.objects.get(pk=provider.pk)
    if snapshot.connection(stored) == typed:
        return replace(_stored_draft(stored), changes=changes)
    return Draft(connection=typed, model_id=_pick_model(stored), changes=changes)


def _pick_model(provider: Provider) -> str:
    """The model that answered last; else a likely chat model: with tools, or cheap, or first."""
    models = provider.language_models.filter(enabled=True, missing_since=None)
    ordered = models.order_by("-tools", F("input_price").asc(nulls_last=True), "name")
    ids = list(ordered.values_list("model_id", flat=True))
    successes = provider.attempts.filter(outcome="ok", model_id__in=ids[:MAX_MODELS_SEARCHED])
    answered = successes.order_by("-started_at").values_list("model_id", flat=True).first()
    return answered or pick_chat_model(ids)


def _render_page(request: PageRequest, panel: TestPanel, slug: str) -> HttpResponse:
    results = {**test_panel.context(panel), "verdict": panel.verdict()}
    if panel.form:
        return pages.render_form(request, panel.form, 200, **results)
    provider = Provider.objects.get(slug=slug)
    form = ProviderForm(instance=provider)
    context = pages.detail_context(request, provider, form) | results
    return render(request, "providers/detail.html", context)
