"""The first run: a one-time link creates the owner, and is dead from then on.

The link is signed with SECRET_KEY and only good while no user exists, so it can be created
again until it is used, and never after.
"""

from datetime import timedelta
from typing import Any

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.core.signing import BadSignature, TimestampSigner
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from opencode_web import account_events, known_browsers
from providers.infra import passwords

LINK_LIVES = timedelta(hours=24)
_signer = TimestampSigner(salt="opencode_web.launcher.setup")


class OwnerForm(UserCreationForm[User]):
    """The owner's name and password."""

    class Meta:
        model = User
        fields = ("username",)

    def clean(self) -> dict[str, Any]:
        """Hashes the password here, where no transaction is open yet."""
        data = super().clean() or self.cleaned_data
        self.instance.is_staff = self.instance.is_superuser = True
        if not self.errors:
            with passwords.hashing():
                self.instance.set_password(data["password1"])
        return data


def owner_exists() -> bool:
    return get_user_model().objects.exists()


def link(public_url: str) -> str:
    """The address that creates the owner, good for a day."""
    return f"{public_url}{reverse('setup')}?token={_signer.sign('owner')}"


@login_not_required
def setup(request: HttpRequest) -> HttpResponse:
    """Creates the owner and signs them in; without a good link it explains how to get one."""
    if owner_exists():
        return redirect("sign-in")
    if not _is_good(request.GET.get("token", "")):
        return render(request, "setup.html", {"form": None}, status=403)
    form = OwnerForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and (owner := _create(form)):
        login(request, owner, settings.AUTHENTICATION_BACKENDS[0])
        account_events.note_sign_in(owner, get_adapter().get_client_ip(request))
        response = redirect("providers:index")
        known_browsers.remember(response, owner.get_username())
        return response
    return render(request, "setup.html", {"form": form}, status=422 if form.errors else 200)


def _create(form: OwnerForm) -> User | None:
    """None where somebody else was first: the lock lets one caller at a time look and create."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('opencode_web.launcher.setup'))")
        if owner_exists():
            return None
        form.instance.save()
        return form.instance


def _is_good(token: str) -> bool:
    try:
        return _signer.unsign(token, max_age=LINK_LIVES) == "owner"
    except BadSignature:
        return False
