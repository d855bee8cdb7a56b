"""A provider's language models: search, switch on and off, refresh, add by hand."""

from datetime import datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from providers.forms import AddModelForm
from providers.infra import replicas
from providers.infra.page_request import PageRequest
from providers.models import LanguageModel, Provider
from providers.operations import audit
from providers.router import snapshot
from providers.views.access import in_background, search_text, staff_only

PAGE = 50
REFRESH_PATIENCE = timedelta(seconds=45)  # the section asks again for this long
SHOWN = {
    "": Q(),
    "on": Q(enabled=True, missing_since=None),
    "off": Q(enabled=False),
    "missing": Q(missing_since__isnull=False),
}


def section(request: HttpRequest, provider: Provider, added: str = "") -> dict[str, Any]:
    """What models.html needs: one page of what matches, and the counts of all.

    A model that was just `added` is searched for, so that it is seen.
    """
    query = added or search_text(request.GET)
    shown = "" if added else request.GET.get("show", "")
    found = _matching(provider, query, shown)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    _mark_failing(provider, page)
    asked = parse_datetime(request.GET.get("since", ""))
    if asked is None and provider.models_refreshed_at is None:
        asked = timezone.now()
    return {
        "provider": provider,
        "page": page,
        "q": query,
        "show": shown if shown in SHOWN else "",
        "counts": _counts(provider),
        "filters": urlencode({"q": query, "show": shown}),
        "since": asked.isoformat() if asked and _is_pending(provider, asked) else "",
        "add_form": AddModelForm(provider=provider),
    }


def _mark_failing(provider: Provider, page: Page[LanguageModel]) -> None:
    """Marks the models of a page that nothing is sent for at present."""
    failures = snapshot.failures([provider])
    failing = {
        each.domain.model_id for each in failures.domains.open_models(failures.routes(provider))
    }
    for model in page:
        model.is_failing = model.model_id in failing


def _matching(provider: Provider, query: str, shown: str) -> QuerySet[LanguageModel]:
    models = provider.language_models.filter(SHOWN.get(shown, Q())).order_by(
        F("missing_since").asc(nulls_first=True), "name", "pk"
    )
    for word in query.split():
        models = models.filter(Q(model_id__icontains=word) | Q(name__icontains=word))
    return models


def _counts(provider: Provider) -> dict[str, int]:
    columns = {name or "all": Count("pk", filter=q) for name, q in SHOWN.items()}
    return provider.language_models.aggregate(**columns)


def _is_pending(provider: Provider, asked: datetime) -> bool:
    done = provider.models_refreshed_at
    late = timezone.now() - asked > REFRESH_PATIENCE
    return not late and (done is None or done < asked)


@require_GET
def models(request: HttpRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    return render(request, "providers/models.html", section(request, provider))


def _answer(request: PageRequest, provider: Provider, added: str = "", **more: Any) -> HttpResponse:
    """The section for htmx, else the page it stands on."""
    if request.htmx:
        context = section(request, provider, added) | more
        return render(request, "providers/models.html", context)
    address = reverse("providers:detail", args=[provider.slug])
    return redirect(f"{address}#models")


@require_POST
@staff_only
def refresh(request: PageRequest, slug: str) -> HttpResponse:
    """Has the worker fetch the list; the section looks again until it is there."""
    provider = get_object_or_404(Provider, slug=slug)
    if in_background("providers.tasks.refresh", provider.pk):
        return _answer(request, provider, since=timezone.now().isoformat())
    return _answer(request, provider, problem="Redis cannot be reached; try again in a moment.")


@require_POST
@staff_only
def toggle(request: PageRequest, slug: str, pk: int) -> HttpResponse:
    model = get_object_or_404(LanguageModel.objects.present(), pk=pk, provider__slug=slug)
    before = audit.values(model)
    model.enabled = request.POST.get("enabled") == "on"
    model.save(update_fields=["enabled"])
    audit.noted(request.user, "changed", model, before)
    if request.htmx:
        context = {"model": model, "provider": model.provider}
        return render(request, "providers/models.html#row", context)
    return _answer(request, model.provider)


@require_POST
@staff_only
def toggle_all(request: PageRequest, slug: str) -> HttpResponse:
    """Switches everything that the search shows."""
    provider = get_object_or_404(Provider, slug=slug)
    found = _matching(provider, search_text(request.GET), request.GET.get("show", ""))
    verb = "enabled" if request.POST.get("enabled") == "on" else "disabled"
    count = found.update(enabled=verb == "enabled")
    audit.note(request.user, verb, provider, {"models": ["", f"{count} that were found"]})
    replicas.publish("providers")
    return _answer(request, provider)


@require_POST
@staff_only
def add(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    form = AddModelForm(request.POST, provider=provider)
    if form.is_valid():
        added = form.store()
        audit.note(request.user, "created", added)
        return _answer(request, provider, added.model_id)
    context = section(request, provider) | {"add_form": form}
    return render(request, "providers/models.html", context, status=422)


@require_POST
@staff_only
def remove(request: PageRequest, slug: str, pk: int) -> HttpResponse:
    """Only what was added by hand or is missing: the rest would come back by itself."""
    model = get_object_or_404(LanguageModel.objects.present(), pk=pk, provider__slug=slug)
    if model.source == "manual" or model.missing_since:
        audit.note(request.user, "deleted", model)
        model.delete()
    return _answer(request, model.provider)
