"""Sign-in is required everywhere; a partial whose session ended sends the whole page to sign-in."""

from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect


class SignInRequiredMiddleware(LoginRequiredMiddleware):
    """Django's, but it never answers a partial with the sign-in page."""

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> Any:
        if request.headers.get("HX-Request"):
            return HttpResponseClientRedirect(reverse("sign-in"))
        return super().handle_no_permission(request, view_func)
