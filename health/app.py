"""`/healthz` and `/readyz`, ahead of Django's handler: can this process work, and what is amiss?

They answer also where the handler is busy, and a 503 that is polled is not logged each time.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from health import readiness
from providers.infra.stopping import stopping

_STOPPING = {"status": "stopping", "reasons": ["This process is about to stop."]}
_FRESH = {"Cache-Control": "no-store"}


async def healthz(request: Request) -> Response:
    """This process is up: no question to anybody else."""
    return JSONResponse({"status": "ok"}, headers=_FRESH)


async def readyz(request: Request) -> Response:
    """200 while it can serve, with what is amiss; else 503."""
    if stopping.is_set():
        return JSONResponse(_STOPPING, status_code=503, headers=_FRESH)
    found = await readiness.look()
    body = {"status": found.status, "reasons": found.reasons}
    return JSONResponse(body, status_code=200 if found.serves else 503, headers=_FRESH)


routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
