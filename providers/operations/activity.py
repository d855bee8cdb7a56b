"""Queries of the activity log: pages of requests by keyset, and one request with its attempts.

A request is one row, represented by its newest attempt. Operators see all; others see their own
requests, without probes and tests.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet

from providers.diagnosis.trace import SETTLED, RequestTrace
from providers.domain.frozen import frozen
from providers.models import Attempt, Purpose

PAGE = 50
OWN = (Purpose.CHAT, Purpose.API)  # requests of people; the others are the site's own
FAILED = "failed"  # as an outcome: any failure
NO_ROUTE = "none"  # as a method: no route was available
ANY_PURPOSE = "any"  # includes probes, which are left out otherwise
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_SECRETS = ("provider__api_key", "provider__extra_headers", "provider__gateway_api_key")


@frozen
class Filters:
    """The conditions for a request to be listed; empty or None means any."""

    provider_id: int | None = None
    model: str = ""
    outcome: str = ""
    purpose: str = ""
    method: str = ""
    fell_back: bool = False
    since: datetime | None = None
    until: datetime | None = None
    request_id: UUID | None = None
    user_id: int | None = None
    client_key: int | None = None


@frozen
class Mark:
    """A position between two rows of the log, where a page ends or begins."""

    at: datetime
    pk: int

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.pk}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """The mark of a link. Raises ValueError."""
        at, _, pk = text.partition("-")
        try:
            moment = _EPOCH + timedelta(microseconds=int(at))
        except OverflowError as exc:
            raise ValueError("no such moment") from exc
        number = int(pk)
        if not 0 <= number < 2**63:
            raise ValueError("no such row")
        return cls(at=moment, pk=number)


@frozen
class RequestPage:
    """One page, newest first; a mark is where the next page begins, None where there is none."""

    requests: list[RequestTrace]
    newer: Mark | None = None
    older: Mark | None = None


def visible(viewer: User) -> QuerySet[Attempt]:
    """The attempts that this user may see."""
    if viewer.is_staff:
        return Attempt.objects.all()
    return Attempt.objects.filter(user_id=viewer.pk, purpose__in=OWN)


def page(
    viewer: User, filters: Filters, *, before: Mark | None = None, after: Mark | None = None
) -> RequestPage:
    """The page after a mark, or the newest one. Two queries for a log of any length."""
    matches = _matching(visible(viewer), filters)
    if after:
        rows = _marks(matches.filter(_newer_than(after)).order_by("started_at", "pk"))
        shown = rows[:PAGE][::-1]
        newer = len(rows) > PAGE
        older = bool(shown)
    else:
        if before:
            matches = matches.filter(_older_than(before))
        rows = _marks(matches.order_by("-started_at", "-pk"))
        shown = rows[:PAGE]
        newer, older = bool(before and shown), len(rows) > PAGE
    return RequestPage(
        requests=_load_requests(viewer, [request_id for request_id, _ in shown]),
        newer=shown[0][1] if newer else None,
        older=shown[-1][1] if older else None,
    )


def redact(viewer: User, attempts: Iterable[Attempt]) -> list[Attempt]:
    """The attempts as this user may read them; never to be saved.

    An upstream may repeat a prompt in its error, so the messages of other people's attempts are
    left out, with the reasons that older rows made of them. Kind, status and code stay.
    """
    rows = list(attempts)
    for each in rows:
        if each.user_id != viewer.pk and each.purpose in OWN:
            each.error_message = ""
            each.reason = _FAILED_WITH.sub("failed", each.reason)
            each.redacted = each.outcome not in SETTLED
    return rows


_FAILED_WITH = re.compile(r"failed \(.*", re.DOTALL)


def request(viewer: User, request_id: UUID) -> RequestTrace | None:
    """One request; None if it does not exist yet, or if this user may not see it."""
    attempts = redact(viewer, _attempts(viewer, [request_id]))
    return RequestTrace(attempts=tuple(attempts)) if attempts else None


def _matching(attempts: QuerySet[Attempt], filters: Filters) -> QuerySet[Attempt]:
    """The newest attempt of each matching request."""
    return attempts.filter(_conditions(filters)).exclude(
        Exists(Attempt.objects.filter(request_id=OuterRef("request_id"), pk__gt=OuterRef("pk")))
    )


def _conditions(filters: Filters) -> Q:
    plain = {
        "request_id": filters.request_id,
        "user_id": filters.user_id,
        "client_key": filters.client_key,
        # `***=` is plain text for a regular expression; unlike UPPER() LIKE, its matches among the
        # commonest models are known to the planner, which then reads the index on time.
        "model_id__iregex": f"***={filters.model}" if filters.model else "",
        "started_at__gte": filters.since,
        "started_at__lte": filters.until,
    }
    condition = Q(**{name: value for name, value in plain.items() if value})
    condition &= _purpose_condition(filters)
    if filters.method:
        condition &= Q(method="" if filters.method == NO_ROUTE else filters.method)
    if filters.outcome == FAILED:
        condition &= ~Q(outcome__in=SETTLED)
    elif filters.outcome:
        condition &= Q(outcome=filters.outcome)
    if filters.provider_id:
        condition &= _provider_condition(filters.provider_id)
    return condition & _FELL_BACK if filters.fell_back else condition


def _purpose_condition(filters: Filters) -> Q:
    """Leaves probes out, except when filtering by them or by a request's id."""
    if filters.purpose == ANY_PURPOSE or filters.request_id:
        return Q()
    return Q(purpose=filters.purpose) if filters.purpose else ~Q(purpose=Purpose.PROBE)


def _provider_condition(provider_id: int) -> Q:
    """Matches requests that tried the provider, even if another one answered.

    Only later attempts have former ones, so most rows need no subquery; `pk__lt` keeps PostgreSQL
    from collecting all attempts of the provider first.
    """
    former = Attempt.objects.filter(
        request_id=OuterRef("request_id"), provider_id=provider_id, pk__lt=OuterRef("pk")
    )
    return Q(provider_id=provider_id) | (Q(position__gt=1) & Q(Exists(former)))


_OTHER_ROUTES = Attempt.objects.filter(request_id=OuterRef("request_id")).exclude(
    provider_id=OuterRef("provider_id"), method=OuterRef("method"), endpoint=OuterRef("endpoint")
)
_FELL_BACK = Q(position__gt=1) & Q(Exists(_OTHER_ROUTES))


# The plain `started_at` condition can use the index; the rest orders equal moments.
def _older_than(mark: Mark) -> Q:
    return Q(started_at__lte=mark.at) & (Q(started_at__lt=mark.at) | Q(pk__lt=mark.pk))


def _newer_than(mark: Mark) -> Q:
    return Q(started_at__gte=mark.at) & (Q(started_at__gt=mark.at) | Q(pk__gt=mark.pk))


def _marks(ordered: QuerySet[Attempt]) -> list[tuple[UUID, Mark]]:
    """One row more than a page holds, to see whether another page follows."""
    rows = ordered.values_list("request_id", "started_at", "pk")[: PAGE + 1]
    return [(request_id, Mark(at=at, pk=pk)) for request_id, at, pk in rows]


def _load_requests(viewer: User, request_ids: list[UUID]) -> list[RequestTrace]:
    """The requests with all their attempts, newest first."""
    attempts: defaultdict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in redact(viewer, _attempts(viewer, request_ids).defer(*_SECRETS)):
        attempts[attempt.request_id].append(attempt)
    requests = [RequestTrace(attempts=tuple(each)) for each in attempts.values()]
    return sorted(requests, key=lambda each: (each.first.started_at, each.first.pk), reverse=True)


def _attempts(viewer: User, request_ids: Iterable[UUID]) -> QuerySet[Attempt]:
    attempts = visible(viewer).filter(request_id__in=list(request_ids))
    return attempts.select_related("provider", "user").order_by("position", "pk")
