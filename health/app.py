"""`/healthz` and `/readyz`, ahead of Django's handler.

They respond even while the handler is busy, and a 503 that is polled is not logged each time.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from health import readiness
from providers.infra.stopping import stopping

_STOPPING = {"status": "stopping", "reasons": ["This process is shutting down."]}
_NO_STORE = {"Cache-Control": "no-store"}


async def healthz(request: Request) -> Response:
    """200 while this process runs; nothing else is checked."""
    return JSONResponse({"status": "ok"}, headers=_NO_STORE)


async def readyz(request: Request) -> Response:
    """200 while this process can serve, with the reasons where it is degraded; else 503."""
    if stopping.is_set():
        return JSONResponse(_STOPPING, status_code=503, headers=_NO_STORE)
    result = await readiness.check()
    body = {"status": result.status, "reasons": result.reasons}
    return JSONResponse(body, status_code=200 if result.can_serve else 503, headers=_NO_STORE)


routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
