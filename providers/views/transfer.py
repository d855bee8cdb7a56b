"""Import (upload, preview, apply), export, and legacy providers."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.forms.secret import clean_key, clean_value
from providers.forms.transfer import ExportForm, ImportForm
from providers.importing import apply, exporting, native_format, plan, read, upload_cache
from providers.importing.schema import Malformed, Missing, Parsed, Resolve, resolve_nothing
from providers.importing.stored import load_entries
from providers.infra import feature_flags
from providers.infra.page_request import PageRequest
from providers.infra.redis_client import RedisUnavailable
from providers.models import Provider, ProviderType, Route
from providers.operations import audit
from providers.views.access import enqueue_task, staff_only

_REDIS_DOWN = "Redis is unavailable, and the preview needs it. Try again in a moment."
_MAX_LENGTH = 20_000  # characters of one value: a service account's credentials are a few thousand
_PREVIEW_EXPIRED = "This preview has expired or was already imported. Upload the file again."


@never_cache
@require_http_methods(["GET", "POST"])
@staff_only
def upload(request: PageRequest) -> HttpResponse:
    """Take the file; errors appear at its field."""
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            document = read.open_document(
                form.cleaned_data["source"], form.cleaned_data["passphrase"]
            )
            read.parse_document(document, resolve_nothing, form.cleaned_data["auth"])
            upload_cache.save(request.user.pk, document, form.cleaned_data["auth"])
        except Malformed as exc:
            form.add_error("passphrase" if "passphrase" in str(exc) else "source_file", str(exc))
        except RedisUnavailable:
            form.add_error(None, _REDIS_DOWN)
        else:
            return redirect("settings:import-preview")
    status = 422 if form.errors else 200
    return render(request, "settings/import.html", {"form": form}, status=status)


@never_cache
@require_http_methods(["GET", "POST"])
@staff_only
def preview(request: PageRequest) -> HttpResponse:
    """Show what would change, with a field for each missing key; on POST, apply it."""
    try:
        cached = upload_cache.load(request.user.pk)
    except RedisUnavailable:
        messages.error(request, _REDIS_DOWN)
        return redirect("settings:import")
    if cached is None:
        messages.error(request, _PREVIEW_EXPIRED)
        return redirect("settings:import")
    document, auth = cached
    parse = partial(read.parse_document, document, auth=auth)
    if request.method == "POST":
        return _apply(request, parse)
    return _render_preview(request, parse(resolve_nothing), {})


@frozen
class _Field:
    """A value to fill in. An address is shown again as typed, a secret never."""

    name: str
    label: str
    error: str = ""
    typed: str = ""
    is_secret: bool = True


def _render_preview(request: PageRequest, parsed: Parsed, errors: dict[str, str]) -> HttpResponse:
    steps = apply.plan_changes(parsed)
    fields = _fields(steps, request, errors)
    context = {
        "source": parsed.source,
        "rows": list(zip(steps, fields, strict=True)),
        "ignored": parsed.ignored,
        "any": any(step.entry or step.missing for step in steps),
        "problem": errors.get("", ""),
        "counts": _count_verbs(steps),
    }
    return render(request, "settings/preview.html", context, status=422 if errors else 200)


def _fields(
    steps: tuple[plan.ProviderChange, ...], request: PageRequest, errors: dict[str, str]
) -> list[list[_Field]]:
    """The values to fill in for each step; one that is named twice appears once."""
    shown: set[str] = set()
    fields_by_step: list[list[_Field]] = []
    for step in steps:
        labels: dict[str, tuple[str, bool]] = {}
        for each in reversed(step.missing):
            label = f"{each.what.capitalize()} for {step.name}, {each.placeholder}"
            labels[_field_name(each)] = (label, each.what != "address")
        if step.needs_key and step.entry:
            labels[f"key-{step.entry.slug}"] = (f"Key for {step.name}", True)
        fields = [
            _Field(
                name=name,
                label=label,
                error=errors.get(name, ""),
                typed="" if is_secret else request.POST.get(name, ""),
                is_secret=is_secret,
            )
            for name, (label, is_secret) in labels.items()
            if name not in shown
        ]
        fields_by_step.append(fields)
        shown |= set(labels)
    return fields_by_step


def _field_name(missing: Missing) -> str:
    return f"fill-{missing.kind}-{missing.name}"


def _count_verbs(steps: tuple[plan.ProviderChange, ...]) -> str:
    verbs = [step.verb for step in steps]
    every = ("created", "changed", "unchanged", "skipped")
    return ", ".join(f"{verbs.count(verb)} {verb}" for verb in every if verb in verbs)


def _apply(request: PageRequest, parse: Callable[[Resolve], Parsed]) -> HttpResponse:
    """Import the file with the values that were filled in; on an error show the preview again."""
    unfilled = parse(resolve_nothing)
    filled: dict[tuple[str, str], str] = {}
    keys: dict[str, str] = {}
    errors: dict[str, str] = {}
    for entry in unfilled.entries:
        for each in entry.missing:
            check = clean_key if each.what.endswith("key") else clean_value
            filled[each.kind, each.name] = _clean_field(request, _field_name(each), check, errors)
        keys[entry.slug] = _clean_field(request, f"key-{entry.slug}", clean_key, errors)
    try:
        parsed = parse(lambda kind, name: filled.get((kind, name)))
    except Malformed as exc:
        return _render_preview(request, unfilled, errors | {"": str(exc)})
    if rejected := [each for each in parsed.skipped if each not in unfilled.skipped]:
        # The filled-in values are the reason: an invalid address, a key with a space in it.
        problem = " ".join(f"{each.name}: {each.reason}" for each in rejected)
        return _render_preview(request, unfilled, errors | {"": problem})
    if errors:
        return _render_preview(request, unfilled, errors)
    steps = apply.apply_import(plan.with_keys(parsed, keys), request.user)
    upload_cache.forget(request.user.pk)
    slugs = [step.entry.slug for step in steps if step.entry]
    for pk in Provider.objects.filter(slug__in=slugs, enabled=True).values_list("pk", flat=True):
        if not enqueue_task("providers.tasks.look_over", pk):
            break
    messages.success(request, f"Imported: {_count_verbs(steps)}.")
    created = any(step.verb == "created" for step in steps)
    return redirect("settings:legacy" if created else "providers:index")


def _clean_field(
    request: PageRequest, name: str, clean: Callable[[str], str], errors: dict[str, str]
) -> str:
    """Return the field's cleaned value; store an error under the field's name."""
    try:
        return clean(request.POST.get(name, "")[:_MAX_LENGTH])
    except ValidationError as exc:
        errors[name] = exc.messages[0]
        return ""


@never_cache
@require_http_methods(["GET", "POST"])
@staff_only
def export(request: PageRequest) -> HttpResponse:
    form = ExportForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        way = form.cleaned_data["way"]
        audit.note(request.user, "exported", f"all providers ({way})", kind="provider")
        return _download(_build_export(way, form.cleaned_data["passphrase"]), way)
    context = {"form": form, "count": Provider.objects.count()}
    return render(request, "settings/export.html", context, status=422 if form.errors else 200)


def _build_export(way: str, passphrase: str) -> dict[str, Any]:
    entries = load_entries()
    if way == "opencode":
        return exporting.write_opencode(entries)
    document = native_format.document(entries, secrets=way == "sealed")
    return native_format.seal(document, passphrase) if way == "sealed" else document


def _download(document: dict[str, Any], way: str) -> HttpResponse:
    response = JsonResponse(document, json_dumps_params={"indent": 2})
    name = "opencode" if way == "opencode" else f"providers-{timezone.now():%Y-%m-%d}-{way}"
    response["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return response


@require_safe
@staff_only
def legacy(request: PageRequest) -> HttpResponse:
    """List the legacy providers and whether they fail now."""
    rows = Provider.objects.filter(provider_type=ProviderType.LEGACY).in_order()
    failing = Route.objects.filter(
        provider__in=rows, method=Method.DIRECT.value, consecutive_failures__gt=0
    ).values_list("provider", flat=True)
    context = {
        "providers": rows,
        "failing": set(failing),
        "smart": feature_flags.is_enabled("smart_routing"),
    }
    return render(request, "settings/legacy.html", context)


@require_POST
@staff_only
def opt_in(request: PageRequest, slug: str = "") -> HttpResponse:
    """Opt in one legacy provider, or all."""
    rows = Provider.objects.filter(provider_type=ProviderType.LEGACY)
    changed = apply.opt_in(rows.filter(slug=slug) if slug else rows, request.user)
    if changed:
        names = changed[0].name if len(changed) == 1 else f"{len(changed)} providers"
        messages.success(request, f"Opted in to routing: {names}.")
    return redirect("providers:detail", slug) if slug else redirect("settings:legacy")


@require_POST
@staff_only
def opt_out(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    apply.opt_out(provider, request.user)
    messages.success(request, f"{provider.name} is legacy again: direct connection only.")
    return redirect("providers:detail", slug)


urlpatterns = [
    path("import/", upload, name="import"),
    path("import/preview/", preview, name="import-preview"),
    path("export/", export, name="export"),
    path("legacy/", legacy, name="legacy"),
    path("legacy/opt-in/", opt_in, name="opt-in-all"),
    path("legacy/<slug:slug>/opt-in/", opt_in, name="opt-in"),
    path("legacy/<slug:slug>/opt-out/", opt_out, name="opt-out"),
]
