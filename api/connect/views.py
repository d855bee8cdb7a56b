"""The Connect page: the keys of a person, a new key, and configurations to copy."""

from typing import Any

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from api.connect.forms import KeyForm
from api.connect.snippets import make_snippets
from api.keys.lifecycle import issue_key
from api.keys.spending import load_budgets
from api.models import ClientKey
from providers.catalog.merge import PRICES
from providers.domain.types import ABILITIES, DiscoveredModel, known_abilities
from providers.infra.page_request import PageRequest
from providers.models import LanguageModel
from providers.operations import audit
from providers.protocols.opencode_config import ListedModel

_FACTS = ("model_id", "name", "context", "output_limit", "takes", *PRICES)
MAX_LISTED = 200  # keys on the page; the admin finds the others


@require_safe
def index(request: PageRequest) -> HttpResponse:
    """The keys, and the snippets."""
    return render(request, "api/connect.html", build_context(request, KeyForm(request.user)))


@require_safe
def list_keys(request: PageRequest) -> HttpResponse:
    """The list of keys alone, which the page fetches again and again."""
    return render(request, "api/connect.html#keys", {"keys": _list_keys(request)})


@never_cache
@require_http_methods(["POST"])
def create(request: PageRequest) -> HttpResponse:
    """Create a key. This response is the only page that ever shows it."""
    form = KeyForm(request.user, request.POST)
    if not form.is_valid():
        return render(request, "api/connect.html", build_context(request, form), status=422)
    owner = form.owner_of_key
    with transaction.atomic():
        key, secret = issue_key(
            owner, form.cleaned_data["name"], form.expires_at, is_locked=owner != request.user
        )
        audit.note(request.user, "created", key)
    context = build_context(request, KeyForm(request.user))
    return render(request, "api/connect.html", context | {"new_key": key, "secret": secret})


def build_context(request: PageRequest, form: KeyForm) -> dict[str, Any]:
    """The context of the page, with this form for a new key."""
    base_url = request.build_absolute_uri("/v1")
    return {
        "form": form,
        "keys": _list_keys(request),
        "base_url": base_url,
        "snippets": make_snippets(base_url, _list_models()),
    }


def _list_keys(request: PageRequest) -> list[ClientKey]:
    """The keys that the person may change, their own first, with the state of their budgets."""
    keys = ClientKey.objects.manageable(request.user).filter(revoked_at=None)
    listed = list(keys.select_related("user")[:MAX_LISTED])
    budgets = load_budgets(listed, timezone.now())
    for key in listed:
        key.budget_state = budgets.get(key.pk)
    return sorted(listed, key=lambda key: key.user_id != request.user.pk)


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
