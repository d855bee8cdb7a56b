"""What an answer waits for until its first token: a route, since when, what is next. Pure.

A row keeps it as JSON, so that a page without JavaScript shows it as well.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from providers.domain.frozen import frozen
from providers.domain.types import AttemptStarted


@frozen
class Waiting:
    """`waited` and `left` are whole seconds; `since` names the attempt for the page's script."""

    route: str
    since: str
    waited: int
    left: int
    next_step: str
    failed: str
    sentence: str


def columns(started: AttemptStarted) -> dict[str, Any]:
    """As the message's row keeps it."""
    return {
        "route": f"{started.model} on {started.provider_name}, {started.method.value}",
        "since": started.started_at.isoformat(),
        "seconds": round(started.first_token),
        "next": started.next_route,
        "failed": started.failed,
    }


def waiting(stored: Mapping[str, Any], now: datetime) -> Waiting:
    """The same as the page shows it now."""
    since = datetime.fromisoformat(stored["since"])
    seconds = int(stored["seconds"])
    waited = max(0, int((now - since) / timedelta(seconds=1)))
    next_step = stored["next"] or "gives up"
    then = f"{stored['next']} is tried" if stored["next"] else "the request ends"
    return Waiting(
        route=stored["route"],
        since=stored["since"],
        waited=waited,
        left=max(0, seconds - waited),
        next_step=next_step,
        failed=stored["failed"],
        sentence=f"Waiting for {stored['route']}. Without an answer in {seconds} s {then}.",
    )
