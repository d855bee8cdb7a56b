"""Leave out of a request's candidates the routes that cannot carry it: that is no failure."""

from dataclasses import replace

from providers.clients.passthrough import cannot_carry
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import ChatRequest
from providers.router.route_table import RouteTable
from providers.router.snapshot import Candidate


def skip_routes(table: RouteTable, candidates: list[Candidate], request: ChatRequest) -> str:
    """Take these routes out of each candidate, in place. Returns which, and why; empty for a chat,
    which every route carries."""
    if request.passed is None:
        return ""
    skipped: list[str] = []
    for place, candidate in enumerate(candidates):
        carried = []
        for route in candidate.routes:
            if reason := cannot_carry(table.target(candidate, route), request.passed.endpoint):
                skipped.append(f"{route.method} skipped: {reason}")
            else:
                carried.append(route)
        if len(carried) < len(candidate.routes):
            candidates[place] = replace(candidate, routes=tuple(carried))
    return "; ".join(dict.fromkeys(skipped))


def require_carrier(candidates: list[Candidate], skipped: str) -> None:
    """Raises CallError where only skipped routes could have carried the request."""
    if not skipped or any(candidate.routes for candidate in candidates):
        return
    raise CallError(
        ErrorKind.REQUEST,
        f"No route to this model carries the request: {skipped}.",
        status=404,
        code="endpoint_unsupported",
        sent=False,
    )
