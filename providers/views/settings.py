"""The settings page: feature flags, appearance, how long things are kept, the reader's password."""

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

# What is kept, the setting that says how long, in days.
KEPT = (
    ("Attempts of chats and of /v1", "KEEP_ATTEMPTS"),
    ("Attempts of checks and tests", "KEEP_PROBES"),
    ("Hourly figures", "KEEP_ROLLUPS"),
    ("Closed incidents", "KEEP_INCIDENTS"),
    ("Removed providers", "KEEP_REMOVED"),
)


@dataclass(frozen=True, slots=True)
class Switch:
    """A flag as the page shows it."""

    flag: Flag
    on: bool
    source: feature_flags.Source


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Everybody may look; operators change."""
    read_flags()
    switches = [
        Switch(flag, *feature_flags.state(name)) for name, flag in feature_flags.FLAGS.items()
    ]
    kept = [(words, name, getattr(settings, name)) for words, name in KEPT]
    legacy = Provider.objects.filter(provider_type=ProviderType.LEGACY).count()
    context = {"switches": switches, "kept": kept, "legacy": legacy}
    return render(request, "settings/index.html", context)


@require_POST
@staff_only
def switch(request: PageRequest, name: str) -> HttpResponse:
    """Sets one flag for the instance; one that the environment pins stays as it is."""
    if name not in feature_flags.FLAGS:
        raise Http404
    read_flags()
    was, source = feature_flags.state(name)
    wanted = request.POST.get("on") == "on"
    if source == "environment":
        messages.error(
            request, f"{feature_flags.FLAGS[name].variable} pins this flag: change it there."
        )
    elif wanted != was:
        with transaction.atomic():
            row, _ = FlagSetting.objects.update_or_create(name=name, defaults={"enabled": wanted})
            told = {True: "on", False: "off"}
            audit.note(request.user, "changed", row, {"enabled": [told[was], told[wanted]]})
        read_flags()
        messages.success(request, f"{row} is {told[wanted]}. It holds everywhere within 2 s.")
    return redirect("settings:index")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: PageRequest) -> HttpResponse:
    """The reader's own: they stay signed in here and are signed out everywhere else."""
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
