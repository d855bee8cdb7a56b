"""The settings page: feature flags, data retention, appearance, and the user's own password."""

from dataclasses import dataclass
from http import HTTPStatus

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from providers.forms.password import PasswordForm
from providers.infra import feature_flags
from providers.infra.feature_flags import Flag
from providers.infra.page_request import PageRequest
from providers.models import FlagSetting, Provider, ProviderType, read_flags
from providers.operations import audit
from providers.views import transfer
from providers.views.access import staff_only

# What is kept, and the setting that holds the number of days.
RETENTION = (
    ("Chat, API and test attempts", "KEEP_ATTEMPTS"),
    ("Health check attempts", "KEEP_PROBES"),
    ("Hourly statistics", "KEEP_ROLLUPS"),
    ("Closed incidents", "KEEP_INCIDENTS"),
    ("Stored responses", "KEEP_RESPONSES"),
    ("Removed providers", "KEEP_REMOVED"),
)

_ON_OFF = {True: "on", False: "off"}


@dataclass(frozen=True, slots=True)
class Switch:
    """A feature flag with its state and where that is set."""

    flag: Flag
    on: bool
    source: feature_flags.Source


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show the settings; only operators can change them."""
    read_flags()
    switches = [
        Switch(flag, *feature_flags.state(name)) for name, flag in feature_flags.FLAGS.items()
    ]
    retention = [(words, name, getattr(settings, name)) for words, name in RETENTION]
    legacy = Provider.objects.filter(provider_type=ProviderType.LEGACY).count()
    context = {"switches": switches, "retention": retention, "legacy": legacy}
    return render(request, "settings/index.html", context)


@require_POST
@staff_only
def switch(request: PageRequest, name: str) -> HttpResponse:
    """Set one flag for the instance, unless the environment pins it."""
    if name not in feature_flags.FLAGS:
        raise Http404
    read_flags()
    was_on, source = feature_flags.state(name)
    turn_on = request.POST.get("on") == "on"
    if source == "environment":
        messages.error(
            request, f"{feature_flags.FLAGS[name].variable} sets this flag: change it there."
        )
    elif turn_on != was_on:
        with transaction.atomic():
            row, _ = FlagSetting.objects.update_or_create(name=name, defaults={"enabled": turn_on})
            change = [_ON_OFF[was_on], _ON_OFF[turn_on]]
            audit.note(request.user, "changed", row, {"enabled": change})
        read_flags()
        messages.success(request, f"{row} is {_ON_OFF[turn_on]}. It applies within 2 s.")
    return redirect("settings:index")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: PageRequest) -> HttpResponse:
    """Change the user's own password; other sessions are signed out."""
    form = PasswordForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.user.save()
        update_session_auth_hash(request, form.user)
        messages.success(request, "Your password is changed.")
        return redirect("settings:index")
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
    return render(request, "settings/password.html", {"form": form}, status=status)


urlpatterns = [
    path("", index, name="index"),
    path("password/", password, name="password"),
    path("flags/<slug:name>/", switch, name="flag"),
    *transfer.urlpatterns,
]
