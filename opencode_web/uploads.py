"""Bodies on their way to Django, bounded as those of `/v1` are: by time, by size, by memory.

Django reads a whole body before any of its own checks, and waits for it without an end.
"""

from django.conf import settings
from django.template.loader import render_to_string
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import Body, BodyRefused, Budget

LARGEST = 12 * 2**20  # bytes: an import takes two files of 5 MB
BUDGET = Budget(total=64 * 2**20, share=32 * 2**20)

_AGAIN = "Go back and try again: what you typed is still in the form."
WORDS = {
    400: ("The upload broke off", _AGAIN),
    408: ("The upload took too long", _AGAIN),
    413: ("The upload is too large", f"The limit is {LARGEST // 2**20} MB. Go back to the form."),
    503: ("Too many uploads at once", f"Wait a few seconds. {_AGAIN}"),
}


class BoundedUploads:
    """An application behind the bounds; a body that is refused is answered with a page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        headers = Headers(scope=scope)
        with Body(receive, BUDGET, address(scope, headers), LARGEST) as body:

            async def receiving() -> Message:
                return await (receive() if body.complete else body.next())

            try:
                body.declare(headers.get("content-length", ""))
                await self._app(scope, receiving, sending)
            except BodyRefused as refused:
                if not begun:
                    await page(refused)(scope, receive, send)


def address(scope: Scope, headers: Headers) -> str:
    """The sender's: the last of a trusted proxy's X-Forwarded-For, else the connection's."""
    if settings.ALLAUTH_TRUSTED_PROXY_COUNT and (forwarded := headers.get("x-forwarded-for")):
        return forwarded.rpartition(",")[2].strip()
    return scope["client"][0] if scope.get("client") else ""


def page(refused: BodyRefused) -> HTMLResponse:
    """What went wrong; the connection ends, as the rest of the body may still be on its way."""
    title, advice = WORDS[refused.status]
    context = {"code": refused.status, "title": title, "advice": advice}
    headers = {"connection": "close", "cache-control": "no-store"}
    if refused.status == 503:
        headers["retry-after"] = "5"
    return HTMLResponse(render_to_string("upload.html", context), refused.status, headers)
