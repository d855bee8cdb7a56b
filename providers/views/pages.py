"""The providers' pages: a new one, one in detail. Each renders from storage alone."""

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
from providers.views.access import in_background, require_staff, staff_only

RECENT_ATTEMPTS = 20
FAILING_SHOWN = 20  # models; the others are counted
FIXABLE = frozenset({"base_url", "gateway_endpoint"})


@require_http_methods(["GET", "POST"])
@staff_only
def new(request: PageRequest) -> HttpResponse:
    """Tiles of the known vendors, then the form of the one that was picked."""
    if request.method == "POST":
        return _saved(request, ProviderForm(request.POST))
    slug = request.GET.get("preset", "")
    if not slug or not presets.known(slug):
        return _choice(request)
    return render(request, "providers/new.html", form_context(_for_preset(slug)))


def _choice(request: PageRequest) -> HttpResponse:
    """The vendors to choose from: the usual ones, or all that match the words; for htmx, these
    alone."""
    words = request.GET.get("q", "").strip()[:100]
    context = {
        "q": words,
        "presets": presets.matching(words) if words else presets.PRESETS,
        "further": len(presets.further()),
    }
    template = "providers/new.html"
    return render(request, f"{template}#found" if request.htmx else template, context)


def _for_preset(slug: str) -> ProviderForm:
    return ProviderForm.for_preset(presets.get(slug))


@require_http_methods(["GET", "POST"])
def detail(request: PageRequest, slug: str) -> HttpResponse:
    provider = get_object_or_404(Provider, slug=slug)
    if request.method == "POST":
        require_staff(request)
        typed = edit_conflict.with_choices(request.POST, provider)
        return _saved(request, ProviderForm(typed, instance=provider))
    form = ProviderForm(instance=provider) if request.user.is_staff else None
    return render(request, "providers/detail.html", detail_context(request, provider, form))


def form_context(form: ProviderForm) -> dict[str, Any]:
    """What form.html needs, on whichever page it stands."""
    slug = form.instance.slug if form.instance.pk else ""
    args = [slug] if slug else []
    stored = edit_conflict.version(form.instance) if slug and not form.is_bound else ""
    return {
        "form": form,
        "version": form.data.get("version", "") if form.is_bound else stored,
        # As it is stored: a form that was refused has changed its own copy.
        "prospects": _prospects(Provider.objects.get(slug=slug)) if slug else (),
        "preset": form.preset,
        "save_url": reverse("providers:detail", args=args) if slug else reverse("providers:new"),
        "test_url": reverse("providers:test" if slug else "providers:test-new", args=args),
        "fix_url": reverse("providers:fix" if slug else "providers:fix-new", args=args),
    }


def detail_context(
    request: HttpRequest, provider: Provider, form: ProviderForm | None
) -> dict[str, Any]:
    context = catalogue.section(request, provider) | _health(request, provider)
    return context | form_context(form) if form else context


def _health(request: HttpRequest, provider: Provider) -> dict[str, Any]:
    recent = provider.attempts.order_by("-started_at")[:RECENT_ATTEMPTS]
    usable = LanguageModel.objects.usable().filter(provider=provider).order_by("name")
    return {
        "provider": provider,
        "chat_model": usable.values_list("pk", flat=True).first(),
        "card": build_card(provider),
        "failing_shown": FAILING_SHOWN,
        "prospects": _prospects(provider),
        "attempts": activity.redact(cast(User, request.user), recent),
    }


def _prospects(provider: Provider) -> tuple[forecast.RoutePreview, ...]:
    others = list(provider.alternatives.usable().prefetch_related("routes"))
    failures = snapshot.failures([provider, *others])
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
    """The health section of the detail page, which asks for it again by itself."""
    provider = get_object_or_404(Provider, slug=slug)
    return render(request, "providers/health.html", _health(request, provider))


def _saved(request: PageRequest, form: ProviderForm) -> HttpResponse:
    """Stores a good form and looks at the provider in the background; shows a bad one again, and
    one that was opened before somebody else saved."""
    if not form.is_valid():
        return form_again(request, form, status=422)
    with transaction.atomic():
        stored = Provider.objects.select_for_update().filter(pk=form.instance.pk).first()
        opened = form.data.get("version", "")
        if stored and opened and (found := edit_conflict.differences(form, opened, stored)):
            return _both_versions(request, form, stored, found)
        before = audit.values(stored) if stored else {}
        provider = form.store(request.user)
        audit.noted(request.user, "changed" if stored else "created", provider, before)
    messages.success(request, _saved_words(form, provider))
    address = reverse("providers:detail", args=[provider.slug])
    return HttpResponseClientRedirect(address) if request.htmx else redirect(address)


def _both_versions(
    request: PageRequest,
    form: ProviderForm,
    stored: Provider,
    found: list[edit_conflict.Difference],
) -> HttpResponse:
    """Nothing is saved; the next save chooses, against what is stored now."""
    last = AuditEvent.objects.filter(kind="provider", subject_id=str(stored.pk)).first()
    more = {
        "conflicts": found,
        "version": edit_conflict.version(stored),
        "provider": stored,
        "changed_by": last.username if last else "",
    }
    return form_again(request, form, 409, **more)


def _saved_words(form: ProviderForm, provider: Provider) -> str:
    tidied = " ".join(sentence for said in form.changes.values() for sentence in said)
    words = f"{provider.name} is saved. {tidied}".strip()
    if not form.has_new_connection or not provider.enabled:
        return words
    if in_background("providers.tasks.look_over", provider.pk):
        return f"{words} It is checked, and its models are fetched, in the background."
    return f"{words} It is checked and its models are fetched as soon as Redis is back."


def form_again(request: PageRequest, form: ProviderForm, status: int, **more: Any) -> HttpResponse:
    """The form as it was typed, on its page, or alone where htmx asks."""
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
    """Puts a fix into the form, unsaved: one field for htmx, else the whole page again."""
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
    return form_again(request, form, 200, fixed=field)


@require_POST
@staff_only
def apply_fix(request: PageRequest, slug: str) -> HttpResponse:
    """A fix for the stored provider, saved at once."""
    provider = get_object_or_404(Provider, slug=slug)
    field, _, value = request.POST.get("fix", "").partition("=")
    if field not in FIXABLE:
        return HttpResponseBadRequest("This field has no fix.")
    form = ProviderForm(_stored_values(provider) | {field: value}, instance=provider)
    if form.is_valid() or not request.htmx:
        return _saved(request, form)
    # A card has no place for the form, and a key goes to no server that it was not typed for.
    messages.error(request, f"Not applied: {_problems(form)} The address would be {value}")
    address = reverse("providers:detail", args=[slug])
    return HttpResponseClientRedirect(f"{address}#connection")


def _problems(form: ProviderForm) -> str:
    return " ".join(str(words) for listed in form.errors.values() for words in listed)


def _stored_values(provider: Provider) -> dict[str, Any]:
    form = ProviderForm(instance=provider)
    return {bound.name: bound.value() for bound in form if bound.value() not in (None, False)}
