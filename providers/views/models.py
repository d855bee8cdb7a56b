"""The Models page: the catalogue of all providers, searched, filtered and changed in bulk.

The query is in the URL, so that it can be bookmarked and shared. Everybody reads the list and has
favourites; only operators change models.
"""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Min
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import push_url

from providers.catalog import search
from providers.catalog.search import CHOICES, ORDERS, PAGE, ModelQuery
from providers.domain.frozen import frozen
from providers.forms import model_forms
from providers.infra import replicas
from providers.infra.page_request import PageRequest
from providers.models import (
    BulkChange,
    CatalogueVisit,
    Favourite,
    LanguageModel,
    ParameterPreset,
    Provider,
)
from providers.operations import audit
from providers.views.access import staff_only

UNDO_WINDOW = timedelta(minutes=30)
LONGEST_SEARCH = 200  # characters
DEFAULT_ORDER = ("order", "name")
LABELS = {
    "state": (
        "Status",
        {"": "Any", "on": "Enabled", "off": "Disabled", "missing": "Missing"},
    ),
    "context": (
        "Context",
        {"": "Any"} | {f"{n}000": f"{n}k or more" for n in (32, 128, 200)} | {"1000000": "1M"},
    ),
    "price": (
        "Input price per 1M tokens",
        {"": "Any", "free": "Free", "1": "Up to $1", "5": "Up to $5"},
    ),
}
FLAGS = {
    "favourite": "Favourites",
    "new": "New since your last visit",
    "vision": "Vision",
    "tools": "Tools",
    "reasoning": "Reasoning",
}
SORTS = {
    "name": "Name",
    "newest": "Newest first",
    "context": "Largest context",
    "price": "Lowest price",
    "provider": "Provider",
}


@frozen
class Option:
    """A filter option with the number of models it would leave."""

    value: str
    label: str
    count: int
    picked: bool


@require_safe
def index(request: PageRequest) -> HttpResponse:
    """Show one page of the matching models; for htmx, the list and the counts alone."""
    since = CatalogueVisit.note(request.user, timezone.now())
    ctx = _list_context(request, since) | _state(request)
    if not request.htmx or request.htmx.history_restore_request:
        return render(request, "models/index.html", ctx)
    response = render(request, "models/index.html#found", ctx)
    query = _encode_query(request, page=ctx["number"] > 1)
    return push_url(response, f"{reverse('models:index')}{'?' if query else ''}{query}")


def _list_context(request: PageRequest, since: Any) -> dict[str, Any]:
    query = _read_query(request, since)
    facets = search.facets(query)
    pages = max(1, -(-facets.total // PAGE))
    number = min(max(1, _parse_number(request.GET.get("page", ""))), pages)
    return {
        "since": since,
        "q": " ".join(query.words),
        "total": facets.total,
        "rows": search.page(query, number),
        "number": number,
        "pages": pages,
        "query": _encode_query(request),
        "here": _encode_query(request, page=number > 1),
        "providers": _provider_options(query, facets),
        "choices": _choice_options(query, facets),
        "flags": [
            Option(value=name, label=label, count=facets.flags[name], picked=name in query.flags)
            for name, label in FLAGS.items()
        ],
        "sorts": [(name, label, name == query.order) for name, label in SORTS.items()],
    }


def _read_query(request: PageRequest, since: Any = None) -> ModelQuery:
    """Read the query from the URL; unknown values are ignored."""
    given = request.GET
    slug = given.get("provider", "")
    provider_id = Provider.objects.filter(slug=slug).values_list("pk", flat=True).first()
    words = given.get("q", "").replace("\0", "")[:LONGEST_SEARCH].split()
    return ModelQuery(
        user_id=request.user.pk,
        words=tuple(words),
        provider=(provider_id or 0) if slug else None,
        choices={name: given.get(name, "") for name in CHOICES},
        flags=frozenset(name for name in FLAGS if given.get(name)),
        order=given.get("order", "") if given.get("order", "") in ORDERS else "name",
        since=since,
    )


def _parse_number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else 1


def _encode_query(request: PageRequest, *, page: bool = False) -> str:
    """The query as URL parameters, without defaults."""
    names = ("q", "provider", *CHOICES, *FLAGS, "order", *(("page",) if page else ()))
    query = QueryDict(mutable=True)
    given = {name: value for name in names if (value := request.GET.get(name, ""))}
    query.update({name: value for name, value in given.items() if (name, value) != DEFAULT_ORDER})
    return query.urlencode()


def _provider_options(query: ModelQuery, facets: search.Facets) -> list[Option]:
    rows = Provider.objects.order_by("name").values_list("pk", "slug", "name")
    return [
        Option(
            value=slug, label=name, count=facets.providers.get(pk, 0), picked=pk == query.provider
        )
        for pk, slug, name in rows
    ]


def _choice_options(
    query: ModelQuery, facets: search.Facets
) -> list[tuple[str, str, list[Option]]]:
    return [
        (
            name,
            label,
            [
                Option(
                    value=value,
                    label=word,
                    count=facets.choices[name][value],
                    picked=value == query.choices.get(name, ""),
                )
                for value, word in words.items()
            ],
        )
        for name, (label, words) in LABELS.items()
    ]


def _state(request: PageRequest) -> dict[str, Any]:
    """The age of the lists, failed refreshes, and the change that can be undone."""
    usable = Provider.objects.usable()
    earliest = timezone.now() - UNDO_WINDOW
    return {
        "oldest": usable.aggregate(oldest=Min("models_refreshed_at"))["oldest"],
        "failed": usable.exclude(models_error="").order_by("name")[:5],
        "change": BulkChange.objects.filter(user=request.user, made_at__gt=earliest).first(),
        "presets": ParameterPreset.objects.all() if request.user.is_staff else (),
    }


@require_POST
@staff_only
def bulk(request: PageRequest) -> HttpResponse:
    """Change all models that match the URL's query; the old values are kept for undo."""
    visit = CatalogueVisit.objects.filter(user=request.user).first()
    matching = search.filter_models(_read_query(request, visit and visit.before))
    with transaction.atomic():
        if pk := request.POST.get("preset", ""):
            preset = get_object_or_404(ParameterPreset, pk=int(pk) if pk.isdecimal() else 0)
            summary = _apply_preset(request, preset, matching)
        else:
            summary = _set_enabled(request, matching, enabled=request.POST.get("enabled") == "on")
    if summary:
        audit.note(request.user, "changed", summary, kind="language models")
    else:
        messages.info(request, "No changes: these models already have these settings.")
    replicas.publish("providers")
    return redirect(f"{reverse('models:index')}?{_encode_query(request)}")


def _set_enabled(request: PageRequest, matching: Any, *, enabled: bool) -> str:
    ids = list(matching.exclude(enabled=enabled).values_list("pk", flat=True))
    summary = f"{_count_models(len(ids))} {'enabled' if enabled else 'disabled'}."
    replaced = [(ids, not enabled, enabled)] if ids else []
    model_forms.save_undo(request.user.pk, summary, "enabled", replaced)
    LanguageModel.objects.filter(pk__in=ids).update(enabled=enabled)
    return summary if ids else ""


def _apply_preset(request: PageRequest, preset: ParameterPreset, matching: Any) -> str:
    replaced = model_forms.apply_preset(preset, matching.select_related("provider").order_by())
    count = sum(len(ids) for ids, *_ in replaced)
    summary = f"Preset {preset.name} applied to {_count_models(count)}."
    model_forms.save_undo(request.user.pk, summary, "parameters", replaced)
    return summary if count else ""


def _count_models(count: int) -> str:
    return f"{count:,} model" if count == 1 else f"{count:,} models"


@require_POST
@staff_only
def undo(request: PageRequest) -> HttpResponse:
    """Undo this user's last bulk change, except for values that were changed since."""
    change = BulkChange.objects.filter(user=request.user).first()
    if change is not None:
        with transaction.atomic():
            done, left = change.undo()
            skipped = f"; {left:,} changed since" if left else ""
            note = {"models": ["", f"{_count_models(done)} restored{skipped}"]}
            audit.note(request.user, "undone", change.said, note, kind="language models")
        unchanged = f" {_count_models(left)} changed since then and stay unchanged." if left else ""
        words = f"Undone: {_count_models(done)} restored.{unchanged}"
        messages.success(request, words)
    return redirect(f"{reverse('models:index')}?{_encode_query(request)}")


@require_POST
def favourite(request: PageRequest, pk: int) -> HttpResponse:
    """Add a model to the user's favourites, or remove it."""
    model = get_object_or_404(LanguageModel.objects.present().select_related("provider"), pk=pk)
    if request.POST.get("favourite") == "on":
        Favourite.objects.get_or_create(user=request.user, model=model)
    else:
        Favourite.objects.filter(user=request.user, model=model).delete()
    return _render_row(request, model)


@require_POST
@staff_only
def use(request: PageRequest, pk: int) -> HttpResponse:
    """Enable or disable a model."""
    model = get_object_or_404(LanguageModel.objects.present().select_related("provider"), pk=pk)
    before = audit.values(model)
    model.enabled = request.POST.get("enabled") == "on"
    model.save(update_fields=["enabled"])
    audit.note_changes(request.user, "changed", model, before)
    return _render_row(request, model)


def _render_row(request: PageRequest, model: LanguageModel) -> HttpResponse:
    """Render the updated row for htmx; else redirect to its page."""
    if not request.htmx:
        here = request.POST.get("from", "")
        back = reverse("models:show", args=[model.pk]) if here == "model" else _list_url(request)
        return redirect(back)
    model.starred = model.favourites.filter(user=request.user).exists()  # type: ignore[attr-defined]
    part = "models/index.html#row"
    return render(request, part, {"model": model, "here": _encode_query(request, page=True)})


def _list_url(request: HttpRequest) -> str:
    return f"{reverse('models:index')}?{request.GET.urlencode()}"
