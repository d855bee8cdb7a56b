"""The pages that add a provider and show one in detail, from storage alone."""

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from providers.diagnosis import forecast
from providers.forms import ProviderForm, edit_conflict
from providers.infra.page_request import PageRequest
from providers.models import AuditEvent, LanguageModel, Provider
from providers.operations import activity, audit
from providers.operations.cards import build_card
from providers.policy import plan
from providers.router import snapshot
from providers.vendors import presets
from providers.views import catalogue
from providers.views.access import enqueue_task, require_staff, staff_only

RECENT_ATTEMPTS = 20
FAILING_SHOWN = 20  # models; the others are counted
FIXABLE = frozenset({"base_url", "gateway_endpoint"})


@require_http_methods(["GET", "POST"])
@staff_only
def new(request: PageRequest) -> HttpResponse:
    """Offer the known vendors, then the form for the one that was picked."""
    if request.method == "POST":
        return _save(request, ProviderForm(request.POST))
    slug = request.GET.get("preset", "")
    if not slug or not presets.is_known(slug):
        return _render_vendors(request)
    form = ProviderForm.for_preset(presets.get(slug))
    return render(request, "providers/new.html", form_context(form))


def _render_vendors(request: PageRequest) -> HttpResponse:
    """List the common vendors, or all that match the search; for htmx, the list alone."""
    words = request.GET.get("q", "").strip()[:100]
    context = {
        "q": words,
        "presets": presets.search(words) if words else presets.PRESETS,
        "further": len(presets.catalogue_presets()),
    }
    template = "providers/new.html"
    return render(request, f"{template}#found" if request.htmx else template, context)


@require_http_methods(["GET", "POST"])
def detail(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    if request.method == "POST":
        require_staff(request)
        typed = edit_conflict.with_choices(request.POST, provider)
        return _save(request, ProviderForm(typed, instance=provider))
    form = ProviderForm(instance=provider) if request.user.is_staff else None
    return render(request, "providers/detail.html", detail_context(request, provider, form))


def form_context(form: ProviderForm) -> dict[str, Any]:
    """The context of form.html."""
    slug = form.instance.slug if form.instance.pk else ""
    args = [slug] if slug else []
    version = edit_conflict.version(form.instance) if slug and not form.is_bound else ""
    return {
        "form": form,
        "version": form.data.get("version", "") if form.is_bound else version,
        # From storage: an invalid form has already changed its own instance.
        "previews": _preview_routes(Provider.objects.get(slug=slug)) if slug else (),
        "preset": form.preset,
        "save_url": reverse("providers:detail", args=args) if slug else reverse("providers:new"),
        "test_url": reverse("providers:test" if slug else "providers:test-new", args=args),
        "fix_url": reverse("providers:fix" if slug else "providers:fix-new", args=args),
    }


def detail_context(
    request: HttpRequest, provider: Provider, form: ProviderForm | None
) -> dict[str, Any]:
    context = catalogue.section(request, provider) | _health_context(request, provider)
    return context | form_context(form) if form else context


def _health_context(request: HttpRequest, provider: Provider) -> dict[str, Any]:
    recent = provider.attempts.order_by("-started_at")[:RECENT_ATTEMPTS]
    usable = LanguageModel.objects.usable().filter(provider=provider).order_by("name")
    return {
        "provider": provider,
        "chat_model": usable.values_list("pk", flat=True).first(),
        "card": build_card(provider),
        "failing_shown": FAILING_SHOWN,
        "previews": _preview_routes(provider),
        "attempts": activity.redact(cast(User, request.user), recent),
    }


def _preview_routes(provider: Provider) -> tuple[forecast.RoutePreview, ...]:
    others = list(provider.alternatives.usable().prefetch_related("routes"))
    failures = snapshot.load_failures([provider, *others])
    return forecast.preview_routes(
        snapshot.policy(provider),
        failures.routes(provider),
        timezone.now(),
        snapshot.fresh(),
        tuple(
            plan.FallbackProvider(
                name=each.name, policy=snapshot.policy(each), routes=failures.routes(each)
            )
            for each in others
        ),
    )


@require_GET
def health(request: HttpRequest, slug: str) -> HttpResponse:
    """Render the health section of the detail page, which polls it."""
    provider = get_object_or_404(Provider, slug=slug)
    return render(request, "providers/health.html", _health_context(request, provider))


def _save(request: PageRequest, form: ProviderForm) -> HttpResponse:
    """Save a valid form and have the provider checked in the background.

    An invalid form, and one that somebody else's save has overtaken, is shown again.
    """
    if not form.is_valid():
        return render_form(request, form, status=422)
    with transaction.atomic():
        stored = Provider.objects.select_for_update().filter(pk=form.instance.pk).first()
        opened = form.data.get("version", "")
        if stored and opened and (conflicts := edit_conflict.find_conflicts(form, opened, stored)):
            return _render_conflict(request, form, stored, conflicts)
        before = audit.values(stored) if stored else {}
        provider = form.store(request.user)
        audit.note_changes(request.user, "changed" if stored else "created", provider, before)
    messages.success(request, _describe_save(form, provider))
    address = reverse("providers:detail", args=[provider.slug])
    return HttpResponseClientRedirect(address) if request.htmx else redirect(address)


def _render_conflict(
    request: PageRequest,
    form: ProviderForm,
    stored: Provider,
    conflicts: list[edit_conflict.FieldConflict],
) -> HttpResponse:
    """Save nothing; offer both versions of each field."""
    last = AuditEvent.objects.filter(kind="provider", subject_id=str(stored.pk)).first()
    more = {
        "conflicts": conflicts,
        "version": edit_conflict.version(stored),
        "provider": stored,
        "changed_by": last.username if last else "",
    }
    return render_form(request, form, 409, **more)


def _describe_save(form: ProviderForm, provider: Provider) -> str:
    corrections = " ".join(note for notes in form.changes.values() for note in notes)
    words = f"{provider.name} is saved. {corrections}".strip()
    if not form.has_new_connection or not provider.enabled:
        return words
    if enqueue_task("providers.tasks.look_over", provider.pk):
        return f"{words} A health check and a model refresh run in the background."
    return f"{words} Redis is unavailable: the health check and model refresh run when it is back."


def render_form(request: PageRequest, form: ProviderForm, status: int, **more: Any) -> HttpResponse:
    """Render the form as typed: alone for htmx, else on its page."""
    if request.htmx:
        return render(request, "providers/form.html", form_context(form) | more, status=status)
    if not form.instance.pk:
        context = form_context(form) | more
        return render(request, "providers/new.html", context, status=status)
    stored = Provider.objects.get(pk=form.instance.pk)
    context = detail_context(request, stored, form) | more
    return render(request, "providers/detail.html", context, status=status)


@require_POST
@staff_only
def fix(request: PageRequest, slug: str = "") -> HttpResponse:
    """Put a fix into the form without saving: one field for htmx, else the page."""
    field, _, value = request.POST.get("fix", "").partition("=")
    if field not in FIXABLE:
        return HttpResponseBadRequest("This field has no fix.")
    provider = get_object_or_404(Provider, slug=slug) if slug else None
    typed = request.POST.copy()
    typed[field] = value
    form = ProviderForm(typed, instance=provider)
    form.errors.clear()
    context = form_context(form) | {"fixed": field}
    if request.htmx:
        return render(request, "providers/fixed.html", context | {"field": form[field]})
    return render_form(request, form, 200, fixed=field)


@require_POST
@staff_only
def apply_fix(request: PageRequest, slug: str) -> HttpResponse:
    """Apply a fix to the stored provider and save it."""
    provider = get_object_or_404(Provider, slug=slug)
    field, _, value = request.POST.get("fix", "").partition("=")
    if field not in FIXABLE:
        return HttpResponseBadRequest("This field has no fix.")
    form = ProviderForm(_stored_values(provider) | {field: value}, instance=provider)
    if form.is_valid() or not request.htmx:
        return _save(request, form)
    # A card has no room for the form, and a stored key is not sent to a new host.
    messages.error(request, f"Fix not applied: {_list_errors(form)} The new value would be {value}")
    address = reverse("providers:detail", args=[slug])
    return HttpResponseClientRedirect(f"{address}#connection")


def _list_errors(form: ProviderForm) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def _stored_values(provider: Provider) -> dict[str, Any]:
    form = ProviderForm(instance=provider)
    return {bound.name: bound.value() for bound in form if bound.value() not in (None, False)}
