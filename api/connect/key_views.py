"""The pages of one client key: its settings, its rotation, its end.

A key of another person is a 404, except for operators.
"""

from http import HTTPStatus

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from api.connect.forms import KeyForm, KeySettingsForm, RotationForm
from api.connect.views import build_context
from api.keys.lifecycle import revoke_keys, rotate_key
from api.keys.spending import load_budgets
from api.models import ClientKey
from providers.infra import replicas
from providers.infra.page_request import PageRequest
from providers.operations import audit


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: PageRequest, pk: int) -> HttpResponse:
    """Show and change the settings of a key."""
    key = _get_key(request, pk)
    before = audit.values(key)
    form = KeySettingsForm(request.user, request.POST or None, instance=key)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            saved = form.save(commit=False)
            saved.save(update_fields=list(form.fields))
            audit.note_changes(request.user, "changed", saved, before)
            replicas.publish("keys")
        messages.success(request, f"{saved.name} is saved. Requests follow within two seconds.")
        return redirect("api:connect")
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
    stored = ClientKey.objects.get(pk=pk)
    stored.budget_state = load_budgets([stored], timezone.now()).get(pk)
    context = {"form": form, "key": stored}
    return render(request, "api/key.html", context, status=status)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: PageRequest, pk: int) -> HttpResponse:
    """Choose the overlap, then make a new secret. This response is the only page that shows it."""
    key = _get_key(request, pk)
    form = RotationForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
        return render(request, "api/rotate.html", {"key": key, "form": form}, status=status)
    before = audit.values(key)
    with transaction.atomic():
        secret = rotate_key(key, form.overlap)
        audit.note_changes(request.user, "rotated", key, before)
    context = build_context(request, KeyForm(request.user))
    shown = {"new_key": key, "secret": secret, "rotated": True}
    return render(request, "api/connect.html", context | shown)


@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: PageRequest, pk: int) -> HttpResponse:
    """Confirm, then revoke a key."""
    key = _get_key(request, pk)
    if request.method != "POST":
        return render(request, "api/revoke.html", {"key": key})
    with transaction.atomic():
        revoke_keys([key.pk])
        audit.note(request.user, "revoked", key)
    messages.success(request, f"Revoked {key.name}. It no longer works.")
    return redirect("api:connect")


def _get_key(request: PageRequest, pk: int) -> ClientKey:
    keys = ClientKey.objects.manageable(request.user).select_related("user")
    return get_object_or_404(keys, pk=pk, revoked_at=None)
