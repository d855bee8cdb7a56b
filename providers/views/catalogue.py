"""A provider's language models: search, enable, disable, refresh, add manually."""

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
from providers.views.access import enqueue_task, read_search_text, staff_only

PAGE_SIZE = 50
REFRESH_TIMEOUT = timedelta(seconds=45)  # how long the section polls for a fresh list
FILTERS = {
    "": Q(),
    "on": Q(enabled=True, missing_since=None),
    "off": Q(enabled=False),
    "missing": Q(missing_since__isnull=False),
}


def section(request: HttpRequest, provider: Provider, added: str = "") -> dict[str, Any]:
    """The context of models.html: one page of the matching models, and all counts.

    Searches for a model that was just `added`, so that it is on the page.
    """
    query = added or read_search_text(request.GET)
    shown = "" if added else request.GET.get("show", "")
    matching = _filter(provider, query, shown)
    page = Paginator(matching, PAGE_SIZE).get_page(request.GET.get("page"))
    _mark_failing(provider, page)
    requested_at = parse_datetime(request.GET.get("since", ""))
    if requested_at is None and provider.models_refreshed_at is None:
        requested_at = timezone.now()
    return {
        "provider": provider,
        "page": page,
        "q": query,
        "show": shown if shown in FILTERS else "",
        "counts": _counts(provider),
        "filters": urlencode({"q": query, "show": shown}),
        "since": requested_at.isoformat()
        if requested_at and _is_pending(provider, requested_at)
        else "",
        "add_form": AddModelForm(provider=provider),
    }


def _mark_failing(provider: Provider, page: Page[LanguageModel]) -> None:
    """Set `is_failing` on the models whose breaker is open."""
    failures = snapshot.load_failures([provider])
    failing = {
        each.domain.model_id for each in failures.domains.open_models(failures.routes(provider))
    }
    for model in page:
        model.is_failing = model.model_id in failing


def _filter(provider: Provider, query: str, shown: str) -> QuerySet[LanguageModel]:
    models = provider.language_models.filter(FILTERS.get(shown, Q())).order_by(
        F("missing_since").asc(nulls_first=True), "name", "pk"
    )
    for word in query.split():
        models = models.filter(Q(model_id__icontains=word) | Q(name__icontains=word))
    return models


def _counts(provider: Provider) -> dict[str, int]:
    columns = {name or "all": Count("pk", filter=q) for name, q in FILTERS.items()}
    return provider.language_models.aggregate(**columns)


def _is_pending(provider: Provider, requested_at: datetime) -> bool:
    refreshed_at = provider.models_refreshed_at
    is_late = timezone.now() - requested_at > REFRESH_TIMEOUT
    return not is_late and (refreshed_at is None or refreshed_at < requested_at)


@require_GET
def models(request: HttpRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    return render(request, "providers/models.html", section(request, provider))


def _respond(
    request: PageRequest, provider: Provider, added: str = "", **more: Any
) -> HttpResponse:
    """Render the section for htmx; else redirect to its page."""
    if request.htmx:
        context = section(request, provider, added) | more
        return render(request, "providers/models.html", context)
    address = reverse("providers:detail", args=[provider.slug])
    return redirect(f"{address}#models")


@require_POST
@staff_only
def refresh(request: PageRequest, slug: str) -> HttpResponse:
    """Have the worker fetch the list; the section polls until it is there."""
    provider = get_object_or_404(Provider, slug=slug)
    if enqueue_task("providers.tasks.refresh", provider.pk):
        return _respond(request, provider, since=timezone.now().isoformat())
    return _respond(request, provider, problem="Redis is unavailable. Try again in a moment.")


@require_POST
@staff_only
def toggle(request: PageRequest, slug: str, pk: int) -> HttpResponse:
    model = get_object_or_404(LanguageModel.objects.present(), pk=pk, provider__slug=slug)
    before = audit.values(model)
    model.enabled = request.POST.get("enabled") == "on"
    model.save(update_fields=["enabled"])
    audit.note_changes(request.user, "changed", model, before)
    if request.htmx:
        context = {"model": model, "provider": model.provider}
        return render(request, "providers/models.html#row", context)
    return _respond(request, model.provider)


@require_POST
@staff_only
def toggle_all(request: PageRequest, slug: str) -> HttpResponse:
    """Enable or disable all models that match the search."""
    provider = get_object_or_404(Provider, slug=slug)
    matching = _filter(provider, read_search_text(request.GET), request.GET.get("show", ""))
    verb = "enabled" if request.POST.get("enabled") == "on" else "disabled"
    count = matching.update(enabled=verb == "enabled")
    audit.note(request.user, verb, provider, {"models": ["", f"{count} that matched"]})
    replicas.publish("providers")
    return _respond(request, provider)


@require_POST
@staff_only
def add(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    form = AddModelForm(request.POST, provider=provider)
    if form.is_valid():
        added = form.store()
        audit.note(request.user, "created", added)
        return _respond(request, provider, added.model_id)
    context = section(request, provider) | {"add_form": form}
    return render(request, "providers/models.html", context, status=422)


@require_POST
@staff_only
def remove(request: PageRequest, slug: str, pk: int) -> HttpResponse:
    """Remove a manual or a missing model: any other would return with the next refresh."""
    model = get_object_or_404(LanguageModel.objects.present(), pk=pk, provider__slug=slug)
    if model.source == "manual" or model.missing_since:
        audit.note(request.user, "deleted", model)
        model.delete()
    return _respond(request, model.provider)
