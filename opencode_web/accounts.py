"""Sign in with a password: allauth's flow with our throttle, our pages, and one way to check.

Accounts are made by the set-up link and in the admin; nobody signs up. Every check of a password
passes through `Adapter.authenticate`, that of somebody who is signed in as well.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import LoginForm
from allauth.account.views import LoginView
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import Error as DatabaseUnavailable
from django.http import HttpRequest
from django.utils.html import format_html

from opencode_web import account_events, known_browsers, throttle
from providers.infra import passwords

_UNUSABLE = "!"  # no password hashes to it; checking one takes the time of a hash all the same
UNKNOWN_ADDRESS = "unknown"  # the server listens on a Unix socket, and no proxy names one


class TooManyPasswords(ValidationError):
    """What is wrong and how long it holds (`seconds`), counted down where there is JavaScript."""

    def __init__(self, refused: throttle.Throttled) -> None:
        message = format_html(
            "<span>Too many wrong passwords {}. Wait"
            ' <span class="num" role="timer" data-countdown="{}">{}</span>, then try again.</span>',
            "for this account" if refused.account else "from your address",
            refused.seconds,
            _duration(refused.seconds),
        )
        super().__init__(message, code="throttled")
        self.seconds = refused.seconds


class NotChecked(ValidationError):
    """The database failed while the password was checked: nothing is known of it."""

    seconds = 5

    def __init__(self) -> None:
        message = (
            "Your password could not be checked: the database is not available."
            " Try again in a few seconds."
        )
        super().__init__(message, code="unavailable")


def _duration(seconds: int) -> str:
    """In words, as static/js/countdown.js counts it down."""
    return f"{seconds} s" if seconds < 90 else f"{seconds // 60} min {seconds % 60} s"


class PasswordBackend(ModelBackend):
    """Name and password, hashed outside of any database connection.

    A wrong password ends here. Django's own backend is only listed after this one because older
    sessions name it.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        users = get_user_model()
        user = users.objects.filter(username=username or "").first()
        with passwords.hashing():
            # A name that does not exist takes as long as one that does.
            right = (user or users(password=_UNUSABLE)).check_password(password or "")
        if user is None or not right or not self.user_can_authenticate(user):
            raise PermissionDenied
        return user


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]
    """The site's own rules within allauth's flow."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "The user name or the password is wrong."
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The sender's address; behind a trusted proxy, the last of X-Forwarded-For."""
        try:
            return str(super().get_client_ip(request))
        except PermissionDenied:
            return UNKNOWN_ADDRESS

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """The user, or None where the password is wrong. Raises ValidationError: not checked."""
        account, address = credentials.get("username", ""), self.get_client_ip(request)
        browser = known_browsers.browser_id(request, account)
        try:
            attempt = throttle.begin(account, address, browser)
        except throttle.Throttled as refused:
            if refused.first:
                account_events.note_refused(request, account, address)
            raise TooManyPasswords(refused) from refused
        user = _check(request, attempt, credentials)
        if user is None:
            account_events.note_failure(request, account, address)
        return user

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> Any:
        account_events.note_sign_in(user, self.get_client_ip(request))
        response = super().post_login(request, user, **kwargs)
        known_browsers.remember(response, user.get_username())
        return response

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Add no message at sign-in: pages show the user anyway."""


def _check(
    request: HttpRequest, attempt: throttle.SignInAttempt, credentials: dict[str, Any]
) -> User | None:
    """The user, or None where the password is wrong: nothing else counts as a wrong one."""
    try:
        user = authenticate(request, **credentials)
    except DatabaseUnavailable as exc:
        attempt.cancel()
        raise NotChecked from exc
    except BaseException:
        attempt.cancel()
        raise
    if user:
        attempt.cancel()
    return user


class SignInForm(LoginForm):  # type: ignore[misc]
    """Name and password; the field is still called `username`, as password managers know it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs = {"autocomplete": "username"}
        self.fields["password"].widget.attrs = {"autocomplete": "current-password"}
        self.fields["password"].help_text = ""
        first = "password" if self.is_bound else "login"
        self.fields[first].widget.attrs["autofocus"] = True

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else str(super().add_prefix(field_name))


class SignIn(LoginView):  # type: ignore[misc]
    """The page. It answers 422 for a wrong password, 429 where none is checked now, and 503 where
    the database is not available."""

    form_class = SignInForm
    template_name = "sign_in.html"

    def form_invalid(self, form: SignInForm) -> Any:
        response = self.render_to_response(self.get_context_data(form=form), status=422)
        for error in form.non_field_errors().as_data():
            if isinstance(error, TooManyPasswords | NotChecked):
                response.status_code = 429 if isinstance(error, TooManyPasswords) else 503
                response["Retry-After"] = str(error.seconds)
        return response
