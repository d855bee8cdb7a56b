"""Sign-in is required everywhere, no page is stored by a browser or a proxy, pages are compressed.

A partial whose session ended sends the whole page to sign-in.
"""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware
from django_htmx.http import HttpResponseClientRedirect


@sync_and_async_middleware
def no_store(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Every page is one person's: neither a shared cache nor the next user of a browser's history
    gets it. Static files do not pass here."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            return _forbid_storing(await get_response(request))

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return _forbid_storing(get_response(request))

    return middleware


def _forbid_storing(response: HttpResponseBase) -> HttpResponseBase:
    if "no-store" not in response.get("Cache-Control", ""):
        response["Cache-Control"] = "no-store, private"
    return response


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


class CompressionMiddleware(GZipMiddleware):
    """Compresses whole pages; a stream goes out as it comes.

    Against BREACH: Django masks the CSRF token differently in each page, and its middleware adds a
    random number of bytes (Heal the Breach), so that the length reveals little about a page.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.streaming:
            return response
        return super().process_response(request, response)
