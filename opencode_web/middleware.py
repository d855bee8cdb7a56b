"""Sign-in is required everywhere; a partial whose session ended sends the whole page to sign-in."""

from typing import Any

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect


class SignInRequiredMiddleware(LoginRequiredMiddleware):
    """Django's, but it never answers a partial with the sign-in page."""

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> Any:
        if request.headers.get("HX-Request"):
            here = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
            response = HttpResponseClientRedirect(
                reverse("sign-in", query={REDIRECT_FIELD_NAME: here})
            )
            # No success: the page keeps what was typed, and finds it again after sign-in.
            response.status_code = 401
            return response
        return super().handle_no_permission(request, view_func)
