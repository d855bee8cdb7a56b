"""What calls write down, many at once: attempts, the routes they showed, the providers' health.

Real traffic, probes and tests all end in `record_all`, so there is one truth about a route. The
rows of a batch are locked while they move; a row changes only where a result says so.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from providers import breaker, changes, condition, learning, metrics, routing, snapshot
from providers.errors import CallError, ErrorKind
from providers.models import (
    SYNTHETIC,
    Attempt,
    Provider,
    Purpose,
    Route,
    RoutingMethod,
    route_columns,
)
from providers.routes import Evidence, RouteState, after
from providers.types import AttemptRecord, Method
from providers.values import value

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


@value
class Result:
    """One finished attempt. `evidence` is what it showed of its route; None where it was judged
    already, or no route was taken at all. `uuid` makes its row one, however often it is written."""

    provider_id: int
    model_id: str
    attempt: AttemptRecord
    purpose: Purpose
    request_id: UUID
    evidence: Evidence | None
    user_id: int | None = None
    client_key: int | None = None
    # Not taken over by `replace`: the copy is another attempt.
    uuid: UUID = field(default_factory=uuid4, init=False, compare=False)


def evidence(
    attempt: AttemptRecord, epoch: int, purpose: Purpose, error: CallError | None = None
) -> Evidence:
    """What an attempt shows of its route; `epoch` is the breaker's as it began."""
    kind = None if attempt.outcome == "ok" else ErrorKind(attempt.outcome)
    return Evidence(
        route_id=attempt.route_id,
        epoch=epoch,
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
    return routing.failure_words(attempt.outcome, attempt.status, attempt.error_code)


def let_go(route_id: int, epoch: int) -> Evidence:
    """What frees a trial that came to no verdict, as its call never went out."""
    return Evidence(route_id=route_id, epoch=epoch, at=timezone.now(), kind=ErrorKind.STOPPED)


def claim_trial(route: RouteState, now: datetime) -> breaker.Breaker | None:
    """The breaker under which a trial may run; None where another one is under way, or another
    process was first."""
    if breaker.is_leased(route.breaker, now):
        return None
    trial = breaker.on_trial(route.breaker, now, settings.ROUTING_RULES)
    if not Route.objects.change(route.route_id, route.breaker, trial):
        return None
    changes.announce("routes")
    for slug in Provider.objects.filter(pk=route.provider_id).values_list("slug", flat=True):
        metrics.breaker_moved(slug, route.method, trial.state)
    return trial


def record_all(shown: Sequence[Result | Evidence]) -> dict[int, RouteState]:
    """Appends the attempts, moves their routes, derives health; gives the routes as they are now.

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
        before = _lock_routes(seen)
        results = _append([r for r in results if r.provider_id in known], before)
        states = _move_routes(before, _first_seen(shown, results))
        moved = {state.provider_id for pk, state in states.items() if _shows(before[pk], state)}
        changed = _judge(known, results, states)
        if moved or changed:
            changes.announce("routes")
    _count(results, known)
    for pk, state in states.items():
        if before[pk].breaker.state != state.breaker.state and state.provider_id in known:
            metrics.breaker_moved(known[state.provider_id].slug, state.method, state.breaker.state)
    return states


def _count(results: Iterable[Result], providers: dict[int, Provider]) -> None:
    for result in results:
        slug = providers[result.provider_id].slug
        metrics.attempt(slug, result.model_id, result.purpose, result.attempt)
    metrics.tell()


def _seen(shown: Result | Evidence) -> Evidence | None:
    return shown if isinstance(shown, Evidence) else shown.evidence


def _first_seen(shown: Iterable[Result | Evidence], new: Iterable[Result]) -> list[Evidence]:
    """The evidence in its order, without that of results that were written before."""
    written = {result.uuid for result in new}
    kept = (each for each in shown if isinstance(each, Evidence) or each.uuid in written)
    return [each for each in (_seen(one) for one in kept) if each]


def _shows(before: RouteState, now: RouteState) -> bool:
    """Whether other processes decide differently now."""
    return before.breaker != now.breaker


def _lock_routes(seen: Iterable[Evidence]) -> dict[int, RouteState]:
    """The states of the rows that the evidence is about."""
    ids = {each.route_id for each in seen}
    rows = Route.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)
    return {route.pk: route.as_state() for route in rows}


def _move_routes(before: dict[int, RouteState], seen: Iterable[Evidence]) -> dict[int, RouteState]:
    """Folds the evidence into the rows it is about; the states after it."""
    by_route: defaultdict[int, list[Evidence]] = defaultdict(list)
    for each in seen:
        by_route[each.route_id].append(each)
    states: dict[int, RouteState] = {}
    for pk, state in before.items():
        for each in by_route[pk]:
            state = after(state, each, settings.ROUTING_RULES)
        states[pk] = state
    _rewrite(
        Route,
        [{"id": pk} | route_columns(new) for pk, new in states.items() if new != before[pk]],
    )
    return states


def _rewrite(model: type[Model], rows: Sequence[dict[str, Any]]) -> None:
    """Writes the same columns of many locked rows in one statement: one for each would take longer
    than the calls did. PostgreSQL reads the values by the table's own types."""
    if not rows:
        return
    table = model._meta.db_table
    names = [f'"{name}"' for name in rows[0] if name != "id"]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE "{table}" SET ({", ".join(names)}) = ROW({", ".join(f"new.{n}" for n in names)})
            FROM jsonb_populate_recordset(NULL::"{table}", %s) AS new
            WHERE "{table}".id = new.id
            """,  # noqa: S608  # names of ours
            [json.dumps(rows, default=str)],
        )


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


def _judge(
    providers: dict[int, Provider], results: Sequence[Result], states: dict[int, RouteState]
) -> bool:
    """Derives what follows for each provider; whether anything did that others decide by."""
    touched = {state.provider_id for state in states.values()} & set(providers)
    routes: defaultdict[int, list[RouteState]] = defaultdict(list)
    for route in Route.objects.filter(provider__in=touched):
        routes[route.provider_id].append(route.as_state())
    outcomes: defaultdict[int, list[AttemptRecord]] = defaultdict(list)
    for result in results:
        outcomes[result.provider_id].append(result.attempt)
    now = timezone.now()
    judged = {pk: _judge_one(providers[pk], routes[pk], outcomes[pk], now) for pk in touched}
    new = {pk: columns for pk, columns in judged.items() if columns != _told(providers[pk])}
    _rewrite(Provider, [{"id": pk} | columns for pk, columns in new.items()])
    return any(row["switched_at"] != providers[pk].switched_at for pk, row in new.items())


_JUDGED = ("health_status", "health_reason", "consecutive_failures", "switched_at", "flaps")


def _told(provider: Provider) -> dict[str, Any]:
    return {name: getattr(provider, name) for name in _JUDGED}


def _judge_one(
    provider: Provider, routes: list[RouteState], outcomes: list[AttemptRecord], now: datetime
) -> dict[str, Any]:
    """The provider's columns as they should be."""
    own = provider.endpoint()
    ordered = sorted(routes, key=lambda r: r.method == Method.GATEWAY and r.endpoint != own)
    learned = _learn(provider, ordered, now)
    policy = snapshot.policy(provider)
    found = condition.health(
        policy,
        ordered,
        now,
        snapshot.fresh(),
        provider.health_status,
        settings.ROUTING_RULES,
    )
    failures = _failures(provider.consecutive_failures, outcomes)
    columns = (found.word, found.reason[:300], failures, learned.switched_at, learned.flaps)
    return dict(zip(_JUDGED, columns, strict=True))


def _failures(before: int, outcomes: Iterable[AttemptRecord]) -> int:
    for attempt in outcomes:
        if attempt.outcome == "ok":
            before = 0
        elif attempt.failed:
            before += 1
    return before


def _learn(provider: Provider, routes: list[RouteState], now: datetime) -> learning.Learned:
    """Remembers the method that works; writes it to the route that showed it."""
    remembered = [r for r in routes if r.learned_at and now - r.learned_at < snapshot.fresh()]
    best = max(remembered, key=lambda r: r.learned_at or now, default=None)
    known = learning.Learned(
        method=best.method if best else None,
        at=best.learned_at if best else None,
        switched_at=provider.switched_at,
        flaps=provider.flaps,
    )
    if provider.routing_method != RoutingMethod.AUTO:
        return known
    preferred = routing.wanted(snapshot.policy(provider))
    learned = learning.learn(known, preferred, routes, now, settings.ROUTING_RULES)
    if (learned.method, learned.at) != (known.method, known.at):
        provider.routes.exclude(learned_at=None).update(learned_at=None)
        if learned.method:
            showed = [r for r in routes if r.method == learned.method and r.last_success_at]
            latest = max(showed, key=lambda r: r.last_success_at or now)
            Route.objects.filter(pk=latest.route_id).update(learned_at=learned.at)
    return learned


def classify(provider_id: int, direct: CallError | None, gateway: CallError | None) -> None:
    """Keeps what a test of both roads showed: over which of them the provider can be reached."""
    with transaction.atomic():
        provider = Provider.objects.filter(pk=provider_id).select_for_update(no_key=True).first()
        if provider is None:
            return
        found = learning.provider_type(provider.provider_type, direct, gateway)
        if found != provider.provider_type:
            provider.provider_type = found
            provider.save(update_fields=["provider_type"])


def checked(provider_ids: Iterable[int], now: datetime) -> None:
    """Notes that a health check of these providers has ended."""
    with transaction.atomic():
        # Locked in the order of record_all.
        providers = Provider.objects.filter(pk__in=list(provider_ids)).order_by("pk")
        ids = list(providers.select_for_update(no_key=True).values_list("pk", flat=True))
        Provider.objects.filter(pk__in=ids).update(last_health_check=now)
