"""The Models page: the catalogue of all providers, searched, filtered and changed in bulk.

What is looked for is in the address, so that a look can be kept and shared. Everybody reads and has
favourites; operators change.
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

UNDONE_WITHIN = timedelta(minutes=30)
LONGEST_SEARCH = 200
USUAL = ("order", "name")
LABELS = {
    "state": ("State", {"": "Any", "on": "In use", "off": "Not used", "missing": "Missing"}),
    "context": (
        "Context",
        {"": "Any"} | {f"{n}000": f"{n}k or more" for n in (32, 128, 200)} | {"1000000": "1M"},
    ),
    "price": (
        "Price in, per 1M",
        {"": "Any", "free": "Free", "1": "Up to $1", "5": "Up to $5"},
    ),
}
MARKS = {
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
    """One thing to pick beside the list, and how many models it would leave."""

    value: str
    label: str
    count: int
    picked: bool


@require_safe
def index(request: PageRequest) -> HttpResponse:
    """One page of what matches; for htmx the list and the counts alone."""
    since = CatalogueVisit.note(request.user, timezone.now())
    ctx = _found(request, since) | _state(request)
    if not request.htmx or request.htmx.history_restore_request:
        return render(request, "models/index.html", ctx)
    response = render(request, "models/index.html#found", ctx)
    query = _query(request, page=ctx["number"] > 1)
    return push_url(response, f"{reverse('models:index')}{'?' if query else ''}{query}")


def _found(request: PageRequest, since: Any) -> dict[str, Any]:
    wanted = _wanted(request, since)
    counted = search.facets(wanted)
    pages = max(1, -(-counted.total // PAGE))
    number = min(max(1, _number(request.GET.get("page", ""))), pages)
    return {
        "wanted": wanted,
        "q": " ".join(wanted.words),
        "total": counted.total,
        "rows": search.page(wanted, number),
        "number": number,
        "pages": pages,
        "query": _query(request),
        "here": _query(request, page=number > 1),
        "providers": _providers(wanted, counted),
        "choices": _choices(wanted, counted),
        "marks": [
            Option(value=name, label=label, count=counted.flags[name], picked=name in wanted.flags)
            for name, label in MARKS.items()
        ],
        "sorts": [(name, label, name == wanted.order) for name, label in SORTS.items()],
    }


def _wanted(request: PageRequest, since: Any = None) -> ModelQuery:
    """What the address asks for; what it says that is not known is not looked for."""
    given = request.GET
    slug = given.get("provider", "")
    found = Provider.objects.filter(slug=slug).values_list("pk", flat=True).first()
    words = given.get("q", "").replace("\0", "")[:LONGEST_SEARCH].split()
    return ModelQuery(
        user_id=request.user.pk,
        words=tuple(words),
        provider=(found or 0) if slug else None,
        choices={name: given.get(name, "") for name in CHOICES},
        flags=frozenset(name for name in MARKS if given.get(name)),
        order=given.get("order", "") if given.get("order", "") in ORDERS else "name",
        since=since,
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else 1


def _query(request: PageRequest, *, page: bool = False) -> str:
    """The filters as an address says them, without those that are empty."""
    names = ("q", "provider", *CHOICES, *MARKS, "order", *(("page",) if page else ()))
    query = QueryDict(mutable=True)
    given = {name: value for name in names if (value := request.GET.get(name, ""))}
    query.update({name: value for name, value in given.items() if (name, value) != USUAL})
    return query.urlencode()


def _providers(wanted: ModelQuery, counted: search.Facets) -> list[Option]:
    rows = Provider.objects.order_by("name").values_list("pk", "slug", "name")
    return [
        Option(
            value=slug, label=name, count=counted.providers.get(pk, 0), picked=pk == wanted.provider
        )
        for pk, slug, name in rows
    ]


def _choices(wanted: ModelQuery, counted: search.Facets) -> list[tuple[str, str, list[Option]]]:
    return [
        (
            name,
            label,
            [
                Option(
                    value=value,
                    label=word,
                    count=counted.choices[name][value],
                    picked=value == wanted.choices.get(name, ""),
                )
                for value, word in words.items()
            ],
        )
        for name, (label, words) in LABELS.items()
    ]


def _state(request: PageRequest) -> dict[str, Any]:
    """How old the lists are, which could not be had, and what may be taken back."""
    usable = Provider.objects.usable()
    late = timezone.now() - UNDONE_WITHIN
    return {
        "oldest": usable.aggregate(oldest=Min("models_refreshed_at"))["oldest"],
        "failed": usable.exclude(models_error="").order_by("name")[:5],
        "change": BulkChange.objects.filter(user=request.user, made_at__gt=late).first(),
        "presets": ParameterPreset.objects.all() if request.user.is_staff else (),
    }


@require_POST
@staff_only
def bulk(request: PageRequest) -> HttpResponse:
    """Changes exactly what the address's filters find, and keeps what was there before."""
    visit = CatalogueVisit.objects.filter(user=request.user).first()
    found = search.filter_models(_wanted(request, visit and visit.before))
    with transaction.atomic():
        if preset_id := _number(request.POST.get("preset", "")) * bool(request.POST.get("preset")):
            said = _give(request, get_object_or_404(ParameterPreset, pk=preset_id), found)
        else:
            said = _switch(request, found, enabled=request.POST.get("enabled") == "on")
    if said:
        audit.note(request.user, "changed", said, kind="language models")
    else:
        messages.info(request, "Nothing to change: these models are so already.")
    replicas.publish("providers")
    return redirect(f"{reverse('models:index')}?{_query(request)}")


def _switch(request: PageRequest, found: Any, *, enabled: bool) -> str:
    ids = list(found.exclude(enabled=enabled).values_list("pk", flat=True))
    said = f"{_models(len(ids))} {'now in use' if enabled else 'no longer used'}."
    replaced = [(ids, not enabled, enabled)] if ids else []
    model_forms.noted(request.user.pk, said, "enabled", replaced)
    LanguageModel.objects.filter(pk__in=ids).update(enabled=enabled)
    return said if ids else ""


def _give(request: PageRequest, preset: ParameterPreset, found: Any) -> str:
    replaced = model_forms.give(preset, found.select_related("provider").order_by())
    count = sum(len(ids) for ids, *_ in replaced)
    said = f"{_models(count)} given the parameters of {preset.name}."
    model_forms.noted(request.user.pk, said, "parameters", replaced)
    return said if count else ""


def _models(count: int) -> str:
    return f"{count:,} model" if count == 1 else f"{count:,} models"


@require_POST
@staff_only
def undo(request: PageRequest) -> HttpResponse:
    """Takes back the last change of many models that this person made, and nobody else's since."""
    change = BulkChange.objects.filter(user=request.user).first()
    if change is not None:
        with transaction.atomic():
            done, left = change.undo()
            told = f"{_models(done)} as before" + (f", {left:,} changed since" if left else "")
            note = {"models": ["", told]}
            audit.note(request.user, "undone", change.said, note, kind="language models")
        kept = f" {_models(left)} changed since then stay as they are." if left else ""
        words = f"Taken back: {_models(done)} as before.{kept}"
        messages.success(request, words)
    return redirect(f"{reverse('models:index')}?{_query(request)}")


@require_POST
def favourite(request: PageRequest, pk: int) -> HttpResponse:
    """Puts a model among one's favourites, or takes it out of them."""
    model = get_object_or_404(LanguageModel.objects.present().select_related("provider"), pk=pk)
    if request.POST.get("favourite") == "on":
        Favourite.objects.get_or_create(user=request.user, model=model)
    else:
        Favourite.objects.filter(user=request.user, model=model).delete()
    return _row(request, model)


@require_POST
@staff_only
def use(request: PageRequest, pk: int) -> HttpResponse:
    """Takes a model into use, or out of it."""
    model = get_object_or_404(LanguageModel.objects.present().select_related("provider"), pk=pk)
    before = audit.values(model)
    model.enabled = request.POST.get("enabled") == "on"
    model.save(update_fields=["enabled"])
    audit.noted(request.user, "changed", model, before)
    return _row(request, model)


def _row(request: PageRequest, model: LanguageModel) -> HttpResponse:
    """The row as it is now, for htmx; else the page it stands on."""
    if not request.htmx:
        here = request.POST.get("from", "")
        back = reverse("models:show", args=[model.pk]) if here == "model" else _back(request)
        return redirect(back)
    model.starred = model.favourites.filter(user=request.user).exists()  # type: ignore[attr-defined]
    part = "models/index.html#row"
    return render(request, part, {"model": model, "here": _query(request, page=True)})


def _back(request: HttpRequest) -> str:
    return f"{reverse('models:index')}?{request.GET.urlencode()}"
