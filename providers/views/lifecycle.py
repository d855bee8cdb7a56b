"""Move, pause, duplicate, remove and restore a provider."""

from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST

from providers.infra.page_request import PageRequest
from providers.models import Provider
from providers.operations import audit, lifecycle
from providers.views import provider_list
from providers.views.access import enqueue_task, staff_only


@require_POST
@staff_only
def move(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    _apply(request, "moved", provider, partial(lifecycle.move, up=request.POST.get("to") == "up"))
    return _respond(request, provider)


@require_POST
@staff_only
def pause(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    _apply(request, "paused", provider, lifecycle.pause)
    return _respond(request, provider)


@require_POST
@staff_only
def resume(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    _apply(request, "resumed", provider, lifecycle.resume)
    return _respond(request, provider)


def _apply(
    request: PageRequest, verb: str, provider: Provider, act: Callable[[Provider], None]
) -> None:
    """Act and write the audit event, if anything changed."""
    with transaction.atomic():
        before = audit.values(provider)
        act(provider)
        audit.note_changes(request.user, verb, provider, before)


def _respond(request: PageRequest, provider: Provider) -> HttpResponse:
    """Render the cards for htmx, else redirect to this card; both with the list's filters."""
    query = QueryDict(request.POST.get("list", ""))
    if request.htmx:
        return provider_list.render_cards(request, query)
    return redirect(f"{reverse('providers:index')}?{query.urlencode()}#card-{provider.slug}")


@require_POST
@staff_only
def duplicate(request: PageRequest, slug: str) -> HttpResponse:
    """Create a paused copy and open its page, where to change what should differ."""
    original = get_object_or_404(Provider, slug=slug)
    with transaction.atomic():
        created = lifecycle.copy(original, request.user)
        audit.note(request.user, "created", created, {"copy of": ["", original.name]})
    messages.success(
        request,
        f"{created.name} has the same settings, keys and models. It is paused until you resume it.",
    )
    return redirect("providers:detail", created.slug)


@require_http_methods(["GET", "POST"])
@staff_only
def delete(request: PageRequest, slug: str) -> HttpResponse:
    """Confirm with what is affected, then remove; it can be restored for a while."""
    provider = get_object_or_404(Provider, slug=slug)
    if request.method == "GET":
        return render(request, "providers/delete.html", _removal_context(provider))
    _apply(request, "removed", provider, lifecycle.remove)
    return redirect(f"{reverse('providers:index')}?{urlencode({'removed': provider.slug})}")


def _removal_context(provider: Provider) -> dict[str, object]:
    return {
        "provider": provider,
        "models": provider.language_models.filter(enabled=True, missing_since=None).count(),
        "routes": provider.routes.count(),
        "attempts": provider.attempts.count(),
        "named_by": list(Provider.objects.filter(alternatives=provider).order_by("name")),
        "keep_removed": settings.KEEP_REMOVED,
    }


@require_POST
@staff_only
def restore(request: PageRequest, slug: str) -> HttpResponse:
    """Restore a removed provider, unchanged."""
    provider = get_object_or_404(Provider.with_removed.exclude(removed_at=None), slug=slug)
    _apply(request, "restored", provider, lifecycle.restore)
    if provider.enabled:
        enqueue_task("providers.tasks.look_over", provider.pk)
    messages.success(request, f"{provider.name} is restored.")
    return redirect(f"{reverse('providers:index')}#card-{provider.slug}")
