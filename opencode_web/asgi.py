"""The web process: static files, then event streams, then Django - each only what it is for.

A stream that goes through Django's handler pays for its middlewares in thread hops and holds its
request for as long as the answer takes; so streams (and `/v1`) sit in a small router ahead of it.
"""

import os
from typing import cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
django_application = get_asgi_application()

# Only now can modules that read settings or models be imported.
from django.conf import settings  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402
from starlette.routing import Router  # noqa: E402
from starlette.types import ASGIApp  # noqa: E402

from chat.app import routes as event_streams  # noqa: E402

lean = Router(
    routes=[*event_streams],
    default=cast(ASGIApp, django_application),
    redirect_slashes=False,
)

application = ServeStaticASGI(
    lean,
    root=settings.STATIC_ROOT,
    prefix=settings.STATIC_URL,
    autorefresh=settings.DEBUG,
    allow_all_origins=False,
    # The names that ManifestStaticFilesStorage gives: twelve hex digits of the content's MD5.
    immutable_file_test=r"^.+\.[0-9a-f]{12}\..+$",
)
