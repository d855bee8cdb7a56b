"""The Connect page: client keys, and configurations to copy."""

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from api.connect.forms import KeyForm
from api.connect.snippets import ListedModel, make_snippets
from api.keys.lifecycle import issue_key, revoke_keys
from api.models import ClientKey
from providers.catalog.merge import PRICES
from providers.domain.types import ABILITIES, DiscoveredModel, known_abilities
from providers.models import LanguageModel
from providers.operations import audit

_FACTS = ("model_id", "name", "context", "output_limit", "takes", *PRICES)


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The user's keys, and the snippets."""
    return render(request, "api/connect.html", _context(request, KeyForm()))


@never_cache
@require_http_methods(["POST"])
def create(request: HttpRequest) -> HttpResponse:
    """Create a key. This response is the only page that ever shows it."""
    form = KeyForm(request.POST)
    if not form.is_valid():
        return render(request, "api/connect.html", _context(request, form), status=422)
    key, secret = issue_key(_user(request), form.cleaned_data["name"], form.expires_at)
    audit.note(_user(request), "created", key)
    shown = {"new_key": key, "secret": secret}
    return render(request, "api/connect.html", _context(request, KeyForm()) | shown)


@require_http_methods(["GET", "POST"])
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Confirm, then revoke a key."""
    key = get_object_or_404(ClientKey.objects.of(_user(request)), pk=pk, revoked_at=None)
    if request.method == "GET":
        return render(request, "api/revoke.html", {"key": key})
    revoke_keys([key.pk])
    audit.note(_user(request), "revoked", key)
    messages.success(request, f"Revoked {key.name}. It no longer works.")
    return redirect("api:connect")


def _user(request: HttpRequest) -> User:
    return cast(User, request.user)


def _context(request: HttpRequest, form: KeyForm) -> dict[str, Any]:
    base_url = request.build_absolute_uri("/v1")
    return {
        "form": form,
        "keys": ClientKey.objects.of(_user(request)).filter(revoked_at=None),
        "base_url": base_url,
        "snippets": make_snippets(base_url, _list_models()),
    }


def _list_models() -> list[ListedModel]:
    """The models in use, under the names that clients use."""
    rows = LanguageModel.objects.usable().order_by("provider__slug", "model_id")
    columns = ("alias", "provider__slug", *_FACTS, *ABILITIES, "sources")
    return [
        ListedModel(
            id=f"{row['provider__slug']}/{row['model_id']}",
            alias=row["alias"],
            facts=DiscoveredModel(**{name: row[name] for name in _FACTS}, **known_abilities(row)),
        )
        for row in rows.values(*columns)
    ]
