"""Find out whether a refused chat was the key's fault: read one list of models with the same key.

It runs after the caller has its answer. What its result means is the table of
`providers.policy.key_verdict`: only a key that is refused for everything is disabled.
"""

import asyncio
import time
import uuid

import django.db
from django.utils import timezone

from providers.clients import methods
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import AttemptRecord, Target
from providers.infra import database
from providers.models import Purpose, connection
from providers.policy.breaker import Scope
from providers.policy.key_verdict import is_key_refused
from providers.policy.route_state import Outcome, RouteState
from providers.router import breaker_rows
from providers.router.attempt import AttemptTracker
from providers.router.results import Result
from providers.router.route_table import RouteTable

CHECK_EVERY = 60.0  # seconds; a key that passed is not checked again within them, by any process
CHECK_SECONDS = 15.0  # what one check may take in all


def start(table: RouteTable, refused: AttemptTracker) -> None:
    """Check the key of a refused attempt in the background, unless that was done a moment ago."""
    checking = asyncio.create_task(check(table, refused), name="key check")
    table.checks.add(checking)
    checking.add_done_callback(table.checks.discard)


async def check(table: RouteTable, refused: AttemptTracker) -> None:
    """Read the list of models with the key of this attempt; a refused key is disabled."""
    candidate, route = refused.candidate, refused.route
    if not await _claim_check(route):
        return
    began, started_at = time.monotonic(), timezone.now()
    error = await _list_error(connection.with_total_timeout(candidate.target(route), CHECK_SECONDS))
    attempt = AttemptRecord(
        route_id=route.route_id,
        method=route.method,
        endpoint=route.endpoint,
        outcome=error.kind.value if error else "ok",
        reason=f"{route.method}: key check after a refused chat",
        started_at=started_at,
        duration_ms=round((time.monotonic() - began) * 1000),
        status=error.status if error else None,
        error_code=error.code if error else "",
        error_message=error.message if error else "",
    )
    table.settle(
        Result(
            provider_id=candidate.provider_id,
            model_id="",
            attempt=attempt,
            purpose=Purpose.PROBE,
            request_id=uuid.uuid4(),
            outcome=_verdict(table, refused, error) if error else None,
        )
    )


async def _claim_check(route: RouteState) -> bool:
    """Whether no other request or process checks this key just now. Without the database nobody
    does: the key is checked with its next refusal."""
    try:
        return await database.run(breaker_rows.claim_check, route.key, timezone.now(), CHECK_EVERY)
    except django.db.Error:
        return False


async def _list_error(target: Target) -> CallError | None:
    """Why no list of models came; None where one did."""
    try:
        await methods.list_models(target)
    except CallError as error:
        return error
    return None


def _verdict(table: RouteTable, refused: AttemptTracker, error: CallError) -> Outcome | None:
    """That the key is refused; None where it is not, or nothing shows it."""
    route = refused.route
    current = table.route(route.route_id) or route
    chat = refused.error.kind if refused.error else ErrorKind.STOPPED
    if not is_key_refused(chat, error.kind, refused.started_at, current.last_success_at):
        return None
    return Outcome(
        route_id=route.route_id,
        epoch=route.breaker.epoch,
        at=timezone.now(),
        kind=ErrorKind.AUTH,
        message=error.message,
        scope=Scope.KEY,
        key=route.key,
        epochs=route.epochs,
    )
