"""What operators do with a whole provider: its place, pause, a copy, removal and the way back."""

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
from providers.views.access import in_background, staff_only


@require_POST
@staff_only
def move(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    _do(request, "moved", provider, partial(lifecycle.move, up=request.POST.get("to") == "up"))
    return _answer(request, provider)


@require_POST
@staff_only
def pause(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    _do(request, "paused", provider, lifecycle.pause)
    return _answer(request, provider)


@require_POST
@staff_only
def resume(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    _do(request, "resumed", provider, lifecycle.resume)
    return _answer(request, provider)


def _do(
    request: PageRequest, verb: str, provider: Provider, act: Callable[[Provider], None]
) -> None:
    """Does it and notes who did; nothing is noted where nothing changed."""
    with transaction.atomic():
        before = audit.values(provider)
        act(provider)
        audit.noted(request.user, verb, provider, before)


def _answer(request: PageRequest, provider: Provider) -> HttpResponse:
    """The page's cards for htmx, else the list at this card; filtered as it was."""
    asked = QueryDict(request.POST.get("list", ""))
    if request.htmx:
        return provider_list.render_cards(request, asked)
    return redirect(f"{reverse('providers:index')}?{asked.urlencode()}#card-{provider.slug}")


@require_POST
@staff_only
def duplicate(request: PageRequest, slug: str) -> HttpResponse:
    """The copy is paused, and its page is where to change what should differ."""
    original = get_object_or_404(Provider, slug=slug)
    with transaction.atomic():
        made = lifecycle.copy(original, request.user)
        audit.note(request.user, "created", made, {"copy of": ["", original.name]})
    words = f"{made.name} has the same settings, keys and models. It is paused until you resume it."
    messages.success(request, words)
    return redirect("providers:detail", made.slug)


@require_http_methods(["GET", "POST"])
@staff_only
def delete(request: PageRequest, slug: str) -> HttpResponse:
    """Says what it would affect; then it is gone everywhere at once, and can be brought back."""
    provider = get_object_or_404(Provider, slug=slug)
    if request.method == "GET":
        return render(request, "providers/delete.html", _affected(provider))
    _do(request, "removed", provider, lifecycle.remove)
    return redirect(f"{reverse('providers:index')}?{urlencode({'removed': provider.slug})}")


def _affected(provider: Provider) -> dict[str, object]:
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
    """Brings a removed one back, as it was."""
    provider = get_object_or_404(Provider.with_removed.exclude(removed_at=None), slug=slug)
    _do(request, "restored", provider, lifecycle.restore)
    if provider.enabled:
        in_background("providers.tasks.look_over", provider.pk)
    messages.success(request, f"{provider.name} is back, as it was.")
    return redirect(f"{reverse('providers:index')}#card-{provider.slug}")
