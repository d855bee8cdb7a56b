"""Import, export and legacy providers: an upload, what it would do, and only then the doing."""

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
from providers.importing.schema import Malformed, Missing, Parsed, Resolve, nobody
from providers.infra import feature_flags
from providers.infra.page_request import PageRequest
from providers.infra.redis_client import RedisUnavailable
from providers.models import Provider, ProviderType, Route
from providers.operations import audit
from providers.views.access import in_background, staff_only

_AWAY = "Redis, which keeps the file for the preview, is away. Try again in a moment."
_LONGEST = 20_000  # characters of one value: a service account's credentials are a few thousand
_GONE = "The preview is older than half an hour, or was used: upload the file again."


@never_cache
@require_http_methods(["GET", "POST"])
@staff_only
def upload(request: PageRequest) -> HttpResponse:
    """The file; what is wrong with it is said at its field."""
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            document = read.opened(form.cleaned_data["source"], form.cleaned_data["passphrase"])
            read.parsed(document, nobody, form.cleaned_data["auth"])
            upload_cache.keep(request.user.pk, document, form.cleaned_data["auth"])
        except Malformed as exc:
            form.add_error("passphrase" if "passphrase" in str(exc) else "source_file", str(exc))
        except RedisUnavailable:
            form.add_error(None, _AWAY)
        else:
            return redirect("settings:import-preview")
    status = 422 if form.errors else 200
    return render(request, "settings/import.html", {"form": form}, status=status)


@never_cache
@require_http_methods(["GET", "POST"])
@staff_only
def preview(request: PageRequest) -> HttpResponse:
    """What would happen, with a field for each key that the file only names; then the doing."""
    try:
        kept = upload_cache.kept(request.user.pk)
    except RedisUnavailable:
        messages.error(request, _AWAY)
        return redirect("settings:import")
    if kept is None:
        messages.error(request, _GONE)
        return redirect("settings:import")
    document, auth = kept
    reads = partial(read.parsed, document, auth=auth)
    if request.method == "POST":
        return _done(request, reads)
    return _previewed(request, reads(nobody), {})


@frozen
class _Field:
    """One thing to be filled in. An address is shown as it was typed, a secret never again."""

    name: str
    label: str
    error: str = ""
    typed: str = ""
    is_secret: bool = True


def _previewed(request: PageRequest, parsed: Parsed, errors: dict[str, str]) -> HttpResponse:
    found = apply.plan_changes(parsed)
    fields = _fields(found, request, errors)
    context = {
        "source": parsed.source,
        "rows": list(zip(found, fields, strict=True)),
        "ignored": parsed.ignored,
        "any": any(step.entry or step.missing for step in found),
        "problem": errors.get("", ""),
        "counts": _counts(found),
    }
    return render(request, "settings/preview.html", context, status=422 if errors else 200)


def _fields(
    steps: tuple[plan.ProviderChange, ...], request: PageRequest, errors: dict[str, str]
) -> list[list[_Field]]:
    """What is to be filled in for each step: what is named twice, once."""
    shown: set[str] = set()
    found: list[list[_Field]] = []
    for step in steps:
        labels: dict[str, tuple[str, bool]] = {}
        for each in reversed(step.missing):
            label = f"{each.what.capitalize()} for {step.name}, {each.placeholder}"
            labels[_field(each)] = (label, each.what != "address")
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
        found.append(fields)
        shown |= set(labels)
    return found


def _field(missing: Missing) -> str:
    return f"fill-{missing.kind}-{missing.name}"


def _counts(steps: tuple[plan.ProviderChange, ...]) -> str:
    verbs = [step.verb for step in steps]
    every = ("created", "changed", "unchanged", "skipped")
    return ", ".join(f"{verbs.count(verb)} {verb}" for verb in every if verb in verbs)


def _done(request: PageRequest, reads: Callable[[Resolve], Parsed]) -> HttpResponse:
    """`reads` gives what the file says, with what is typed here for what it only names."""
    named = reads(nobody)
    filled: dict[tuple[str, str], str] = {}
    typed: dict[str, str] = {}
    errors: dict[str, str] = {}
    for entry in named.entries:
        for each in entry.missing:
            check = clean_key if each.what.endswith("key") else clean_value
            filled[each.kind, each.name] = _typed(request, _field(each), check, errors)
        typed[entry.slug] = _typed(request, f"key-{entry.slug}", clean_key, errors)
    try:
        found = reads(lambda kind, name: filled.get((kind, name)))
    except Malformed as exc:
        return _previewed(request, named, errors | {"": str(exc)})
    if refused := [each for each in found.skipped if each not in named.skipped]:
        # What was typed made it so: an address that is none, a key with a space in it.
        problem = " ".join(f"{each.name}: {each.reason}" for each in refused)
        return _previewed(request, named, errors | {"": problem})
    if errors:
        return _previewed(request, named, errors)
    steps = apply.apply_import(plan.with_keys(found, typed), request.user)
    upload_cache.forget(request.user.pk)
    slugs = [step.entry.slug for step in steps if step.entry]
    for pk in Provider.objects.filter(slug__in=slugs, enabled=True).values_list("pk", flat=True):
        if not in_background("providers.tasks.look_over", pk):
            break
    messages.success(request, f"Imported: {_counts(steps)}.")
    created = any(step.verb == "created" for step in steps)
    return redirect("settings:legacy" if created else "providers:index")


def _typed(
    request: PageRequest, name: str, clean: Callable[[str], str], errors: dict[str, str]
) -> str:
    """What stands in a field; what is wrong with it is noted under the field's name."""
    try:
        return clean(request.POST.get(name, "")[:_LONGEST])
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
        return _file(_exported(way, form.cleaned_data["passphrase"]), way)
    context = {"form": form, "count": Provider.objects.count()}
    return render(request, "settings/export.html", context, status=422 if form.errors else 200)


def _exported(way: str, passphrase: str) -> dict[str, Any]:
    found = exporting.entries()
    if way == "opencode":
        return exporting.opencode(found)
    written = native_format.document(found, secrets=way == "sealed")
    return native_format.seal(written, passphrase) if way == "sealed" else written


def _file(document: dict[str, Any], way: str) -> HttpResponse:
    response = JsonResponse(document, json_dumps_params={"indent": 2})
    name = "opencode" if way == "opencode" else f"providers-{timezone.now():%Y-%m-%d}-{way}"
    response["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return response


@require_safe
@staff_only
def legacy(request: PageRequest) -> HttpResponse:
    """The providers that go direct as before, each with what opting in would bring."""
    rows = Provider.objects.filter(provider_type=ProviderType.LEGACY).in_order()
    failing = Route.objects.filter(
        provider__in=rows, method=Method.DIRECT.value, consecutive_failures__gt=0
    ).values_list("provider", flat=True)
    context = {
        "providers": rows,
        "failing": set(failing),
        "smart": feature_flags.on("smart_routing"),
    }
    return render(request, "settings/legacy.html", context)


@require_POST
@staff_only
def opt_in(request: PageRequest, slug: str = "") -> HttpResponse:
    """One, or all."""
    rows = Provider.objects.filter(provider_type=ProviderType.LEGACY)
    found = apply.opt_in(rows.filter(slug=slug) if slug else rows, request.user)
    if found:
        names = found[0].name if len(found) == 1 else f"{len(found)} providers"
        messages.success(request, f"Opted in: {names}. What works is learned from now on.")
    return redirect("providers:detail", slug) if slug else redirect("settings:legacy")


@require_POST
@staff_only
def opt_out(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    apply.opt_out(provider, request.user)
    messages.success(request, f"{provider.name} is legacy again: directly, as before.")
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
