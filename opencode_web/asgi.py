"""The web process: `/v1`, static files, event streams, Django - each only what it is for.

What goes through Django's handler pays for its middlewares, and a stream in it holds its request
for as long as the answer takes; so streams and liveness sit in a small router ahead of it, and
`/v1`, where each tenth of a millisecond counts, comes before everything else.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import cast

import django.db
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
django_application = get_asgi_application()

# Only now can modules that read settings or models be imported.
from django.conf import settings  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402
from starlette.responses import Response  # noqa: E402
from starlette.routing import Router  # noqa: E402
from starlette.types import ASGIApp, Receive, Scope, Send  # noqa: E402

from api import app as v1  # noqa: E402
from chat.app import routes as event_streams  # noqa: E402
from health.app import routes as liveness  # noqa: E402
from opencode_web.uploads import BoundedUploads  # noqa: E402
from providers.clients import http  # noqa: E402
from providers.infra.stopping import stopping  # noqa: E402
from providers.router import route_table  # noqa: E402

SWITCH = 0.0005  # seconds a thread keeps the interpreter while another one wants it
GARBAGE = 50_000  # live objects more than at the last collection before the next one
START_SECONDS = 1.0  # that a start may wait for a database which does not answer


@asynccontextmanager
async def lifespan(_: object) -> AsyncGenerator[None]:
    """Load the providers before the first request, and write the last results at the end."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stopping.set)
    with suppress(django.db.Error, TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            await route_table.current().ready()
    # What is loaded by now stays, so the collector need not walk it again. By default it runs so
    # often that it took a tenth of a request's time.
    gc.freeze()
    gc.set_threshold(GARBAGE)
    # The default of 5 ms is what a request would wait for the thread that writes its results.
    sys.setswitchinterval(SWITCH)
    yield
    await route_table.close()
    await http.close()


lean = Router(
    routes=[*liveness, *event_streams],
    lifespan=lifespan,
    default=BoundedUploads(cast(ASGIApp, django_application)),
    redirect_slashes=False,
)

site = ServeStaticASGI(
    lean,
    root=settings.STATIC_ROOT,
    prefix=settings.STATIC_URL,
    autorefresh=settings.DEBUG,
    allow_all_origins=False,
    # The names that ManifestStaticFilesStorage gives: twelve hex digits of the content's MD5.
    immutable_file_test=r"^.+\.[0-9a-f]{12}\..+$",
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """`/v1` ahead of the site."""
    await _choose(scope)(scope, receive, send)


def _choose(scope: Scope) -> ASGIApp:
    """What answers a request. Clients of `/v1` probe the address with `HEAD /`, and take a redirect
    to the sign-in page for a failure."""
    if scope["type"] != "http":
        return cast(ASGIApp, site)
    if v1.is_here(scope["path"]):
        return v1.application
    is_probe = scope["method"] == "HEAD" and scope["path"] == "/"
    return Response() if is_probe else cast(ASGIApp, site)
