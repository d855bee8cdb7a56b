"""What calls write down, many at once: attempts, the routes they showed, the providers' health.

Real traffic, probes and tests all end in `write_results`, so there is one truth about a route. The
rows of a batch are locked while they move; a row changes only where a result says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field
from datetime import datetime
from uuid import UUID, uuid4

import orjson
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone

from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import AttemptRecord
from providers.infra import metrics, replicas
from providers.models import SYNTHETIC, Attempt, Provider, Purpose, Route
from providers.policy import domains, preference, reasons
from providers.policy.breaker import Scope
from providers.policy.route_state import Outcome, RouteState
from providers.router import breaker_rows, provider_health

# What a probe reports without a verdict on the route: its listing may need other rights than chat.
PROBE_SAYS_NOTHING = frozenset(
    {
        ErrorKind.AUTH,
        ErrorKind.PERMISSION,
        ErrorKind.QUOTA,
        ErrorKind.RATE_LIMIT,
        ErrorKind.REQUEST,
    }
)


@frozen
class Result:
    """One finished attempt. `evidence` is what it showed of its route; None where it was judged
    already, or no route was taken at all. `uuid` makes its row one, however often it is written."""

    provider_id: int
    model_id: str
    attempt: AttemptRecord
    purpose: Purpose
    request_id: UUID
    evidence: Outcome | None
    user_id: int | None = None
    client_key: int | None = None
    # Not taken over by `replace`: the copy is another attempt.
    uuid: UUID = field(default_factory=uuid4, init=False, compare=False)


def evidence(
    attempt: AttemptRecord,
    route: RouteState,
    model_id: str,
    purpose: Purpose,
    error: CallError | None = None,
) -> Outcome:
    """What an attempt shows of its route, model and key; `route` is as it was when it began.

    `model_id` is empty for a list of models.
    """
    kind = None if attempt.outcome == "ok" else ErrorKind(attempt.outcome)
    chat, limited = bool(model_id), bool(error and error.per_model)
    code, status = attempt.error_code, attempt.status
    return Outcome(
        route_id=attempt.route_id,
        epoch=route.breaker.epoch,
        scope=domains.scope_of(kind, code, status, chat=chat, per_model=limited)
        if kind
        else Scope.ROUTE,
        model_id=model_id,
        key=route.key,
        epochs=route.epochs,
        at=timezone.now(),
        kind=kind,
        message=_public_message(attempt, purpose) if kind else "",
        retry_after=error.retry_after if error else None,
        ttft_ms=attempt.ttft_ms,
        judges=not (purpose == Purpose.PROBE and kind in PROBE_SAYS_NOTHING),
        # A person's test on an open route is its own good trial.
        resets=purpose == Purpose.TEST,
    )


def _public_message(attempt: AttemptRecord, purpose: Purpose) -> str:
    """What a route keeps of a failure, for everybody: an upstream may repeat a person's prompt."""
    if purpose in SYNTHETIC:
        return attempt.error_message
    return reasons.failure_words(attempt.outcome, attempt.status, attempt.error_code)


def write_results(shown: Sequence[Result | Outcome]) -> breaker_rows.Written:
    """Appends the attempts, moves their routes, derives health; gives the states as they are now.

    Evidence without an attempt is a trial that its first content decided. What belongs to a
    provider that is gone is dropped. What was written before counts no more: where a connection
    breaks at commit, the caller does not know, and writes the same results again.
    """
    results = [each for each in shown if isinstance(each, Result)]
    seen = [each for each in (_seen(one) for one in shown) if each]
    with transaction.atomic():
        # Locked in one order by everybody, or two batches would wait for one another.
        ids = {result.provider_id for result in results}
        ids |= set(
            Route.objects.filter(pk__in=[each.route_id for each in seen]).values_list(
                "provider_id", flat=True
            )
        )
        providers = Provider.objects.filter(pk__in=ids).order_by("pk")
        known = {provider.pk: provider for provider in providers.select_for_update(no_key=True)}
        before = breaker_rows.lock_routes(seen)
        results = _append([r for r in results if r.provider_id in known], before)
        moved = breaker_rows.move(before, _first_seen(shown, results))
        outcomes = [(result.provider_id, result.attempt) for result in results]
        changed = provider_health.derive(known, outcomes, moved.routes.values())
        if moved.differ or changed:
            replicas.publish("routes")
    _count(results, known)
    for state in moved.changed_state():
        if state.provider_id in known:
            metrics.breaker_moved(known[state.provider_id].slug, state.method, state.breaker.state)
    return moved


def _count(results: Iterable[Result], providers: dict[int, Provider]) -> None:
    for result in results:
        slug = providers[result.provider_id].slug
        metrics.attempt(slug, result.model_id, result.purpose, result.attempt)
    metrics.tell()


def _seen(shown: Result | Outcome) -> Outcome | None:
    return shown if isinstance(shown, Outcome) else shown.evidence


def _first_seen(shown: Iterable[Result | Outcome], new: Iterable[Result]) -> list[Outcome]:
    """The evidence in its order, without that of results that were written before."""
    written = {result.uuid for result in new}
    kept = (each for each in shown if isinstance(each, Outcome) or each.uuid in written)
    return [each for each in (_seen(one) for one in kept) if each]


_COLUMNS = (
    "uuid",
    *("request_id", "position", "user_id", "client_key", "route_id", "provider_id", "method"),
    *("endpoint", "model_id", "purpose", "outcome", "status", "error_code", "error_message"),
    *("reason", "ttft_ms", "duration_ms", "input_tokens", "output_tokens", "cached_tokens"),
    *("cache_write_tokens", "reasoning_tokens", "usage_estimated", "cost", "started_at"),
)


def _append(results: Sequence[Result], routes: dict[int, RouteState]) -> list[Result]:
    """Those that were not written before; one statement, as in `_rewrite`, and for its reason."""
    if not results:
        return []
    gone = _gone_users(results)
    known = set(routes) | _known_routes(results, routes)
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    table = Attempt._meta.db_table
    rows = [dict(zip(_COLUMNS, _row(result, known, gone), strict=True)) for result in results]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO "{table}" ({columns})
            SELECT {columns} FROM json_populate_recordset(NULL::"{table}", %s)
            ON CONFLICT (uuid) DO NOTHING RETURNING uuid
            """,  # noqa: S608  # names of ours
            [orjson.dumps(rows, default=str).decode()],
        )
        new = {uuid for (uuid,) in cursor.fetchall()}
    return [result for result in results if result.uuid in new]


def _row(result: Result, routes: set[int], gone: set[int]) -> tuple[object, ...]:
    attempt, usage = result.attempt, result.attempt.usage
    return (
        result.uuid,
        result.request_id,
        attempt.position,
        None if result.user_id in gone else result.user_id,
        result.client_key,
        attempt.route_id if attempt.route_id in routes else None,
        result.provider_id,
        attempt.method.value if attempt.method else "",
        attempt.endpoint,
        result.model_id,
        result.purpose.value,
        attempt.outcome,
        attempt.status,
        _text(attempt.error_code, 100),
        _text(attempt.error_message, 300),
        _text(attempt.reason, 300),
        attempt.ttft_ms,
        attempt.duration_ms,
        usage.input_tokens if usage else None,
        usage.output_tokens if usage else None,
        usage.cached_tokens if usage else None,
        usage.cache_write_tokens if usage else None,
        usage.reasoning_tokens if usage else None,
        usage.estimated if usage else False,
        attempt.cost,
        attempt.started_at,
    )


def _text(value: str, most: int) -> str:
    """Cut to its column; PostgreSQL takes no NUL."""
    return value[:most].replace("\0", "")


def _gone_users(results: Iterable[Result]) -> set[int]:
    """People who were deleted while their call ran."""
    asked = {result.user_id for result in results if result.user_id is not None}
    if not asked:
        return set()
    return asked - set(get_user_model().objects.filter(pk__in=asked).values_list("pk", flat=True))


def _known_routes(results: Iterable[Result], routes: dict[int, RouteState]) -> set[int]:
    """Routes that only an attempt without evidence names."""
    named = {result.attempt.route_id for result in results} - set(routes) - {0}
    return set(Route.objects.filter(pk__in=named).values_list("pk", flat=True)) if named else set()


def classify(provider_id: int, direct: CallError | None, gateway: CallError | None) -> None:
    """Keeps what a test of both routes showed: over which of them the provider can be reached."""
    with transaction.atomic():
        provider = Provider.objects.filter(pk=provider_id).select_for_update(no_key=True).first()
        if provider is None:
            return
        found = preference.provider_type(provider.provider_type, direct, gateway)
        if found != provider.provider_type:
            provider.provider_type = found
            provider.save(update_fields=["provider_type"])


def checked(provider_ids: Iterable[int], now: datetime) -> None:
    """Notes that a health check of these providers has ended."""
    with transaction.atomic():
        # Locked in the order of write_results.
        providers = Provider.objects.filter(pk__in=list(provider_ids)).order_by("pk")
        ids = list(providers.select_for_update(no_key=True).values_list("pk", flat=True))
        Provider.objects.filter(pk__in=ids).update(last_health_check=now)
