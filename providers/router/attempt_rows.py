"""Append attempts: the rows that finished results become.

A row is appended once, however often its result is written, and names only what still exists: a
person or a route may be deleted while a call runs, and the attempt counts all the same.
"""

from collections.abc import Iterable, Sequence

from django.contrib.auth import get_user_model

from providers.models import Attempt, Route, append_once
from providers.models.bulk import Row
from providers.router.results import Result


def append(results: Sequence[Result], locked_routes: Iterable[int]) -> list[Result]:
    """Append the attempts; return the results that were not written before."""
    if not results:
        return []
    routes = _existing_routes(results, set(locked_routes))
    users = _existing_users(results)
    inserted = append_once(Attempt, [_row(result, routes, users) for result in results])
    return [result for result in results if result.uuid in inserted]


def _row(result: Result, routes: set[int], users: set[int]) -> Row:
    attempt, usage = result.attempt, result.attempt.usage
    return {
        "uuid": result.uuid,
        "request_id": result.request_id,
        "position": attempt.position,
        "user_id": result.user_id if result.user_id in users else None,
        "client_key": result.client_key,
        "route_id": attempt.route_id if attempt.route_id in routes else None,
        "provider_id": result.provider_id,
        "method": attempt.method.value if attempt.method else "",
        "endpoint": attempt.endpoint,
        "model_id": result.model_id,
        "purpose": result.purpose.value,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error_code": _text(attempt.error_code, 100),
        "error_message": _text(attempt.error_message, 300),
        "reason": _text(attempt.reason, 300),
        "ttft_ms": attempt.ttft_ms,
        "duration_ms": attempt.duration_ms,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cached_tokens": usage.cached_tokens if usage else None,
        "cache_write_tokens": usage.cache_write_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        "usage_estimated": usage.estimated if usage else False,
        "cost": attempt.cost,
        "started_at": attempt.started_at,
    }


def _text(value: str, length: int) -> str:
    """Cut a text to its column. PostgreSQL stores no NUL."""
    return value[:length].replace("\0", "")


def _existing_users(results: Iterable[Result]) -> set[int]:
    ids = {result.user_id for result in results if result.user_id is not None}
    if not ids:
        return set()
    return set(get_user_model().objects.filter(pk__in=ids).values_list("pk", flat=True))


def _existing_routes(results: Iterable[Result], locked: set[int]) -> set[int]:
    """The locked routes, and those named only by attempts without an outcome."""
    others = {result.attempt.route_id for result in results} - locked - {0}
    if not others:
        return locked
    return locked | set(Route.objects.filter(pk__in=others).values_list("pk", flat=True))
