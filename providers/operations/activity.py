"""The log of requests, read back: a page of it by keyset, and one request with all its attempts.

A request is one row, however many attempts it took: the newest of them stands for it. Operators see
all; everybody else sees what they asked themselves, and neither probes nor tests.
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
OWN = (Purpose.CHAT, Purpose.API)  # what people ask for; the rest is the site's own doing
FAILED = "failed"  # an outcome to look for: any failure
NO_ROUTE = "none"  # a method to look for: every route rested
ANY_PURPOSE = "any"  # probes included, which are left out otherwise
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_SECRETS = ("provider__api_key", "provider__extra_headers", "provider__gateway_api_key")


@frozen
class Filters:
    """What a request must be like to be listed; what is empty or None does not matter."""

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
    """A place between two rows of the log: a page ends or begins there."""

    at: datetime
    pk: int

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.pk}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """The mark that a link carried; ValueError where it is none."""
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
    """The attempts that this person may see."""
    if viewer.is_staff:
        return Attempt.objects.all()
    return Attempt.objects.filter(user_id=viewer.pk, purpose__in=OWN)


def page(
    viewer: User, filters: Filters, *, before: Mark | None = None, after: Mark | None = None
) -> RequestPage:
    """The page next to a mark, the newest one without. Two queries, whatever the log's length."""
    found = _matching(visible(viewer), filters)
    if after:
        rows = _marks(found.filter(_newer_than(after)).order_by("started_at", "pk"))
        shown = rows[:PAGE][::-1]
        newer = len(rows) > PAGE
        older = bool(shown)
    else:
        if before:
            found = found.filter(_older_than(before))
        rows = _marks(found.order_by("-started_at", "-pk"))
        shown = rows[:PAGE]
        newer, older = bool(before and shown), len(rows) > PAGE
    return RequestPage(
        requests=_gathered(viewer, [request_id for request_id, _ in shown]),
        newer=shown[0][1] if newer else None,
        older=shown[-1][1] if older else None,
    )


def redact(viewer: User, attempts: Iterable[Attempt]) -> list[Attempt]:
    """The attempts as this person may read them, never to be saved.

    An upstream may repeat a prompt in its error. So of other people's attempts the message is left
    out, and the reason that older rows made of one; kind, status and code stay.
    """
    found = list(attempts)
    for each in found:
        if each.user_id != viewer.pk and each.purpose in OWN:
            each.error_message = ""
            each.reason = _FAILED_WITH.sub("failed", each.reason)
            each.redacted = each.outcome not in SETTLED
    return found


_FAILED_WITH = re.compile(r"failed \(.*", re.DOTALL)


def request(viewer: User, request_id: UUID) -> RequestTrace | None:
    """One request; None where there is none, not yet, or none that this person may see."""
    attempts = redact(viewer, _attempts(viewer, [request_id]))
    return RequestTrace(attempts=tuple(attempts)) if attempts else None


def _matching(attempts: QuerySet[Attempt], filters: Filters) -> QuerySet[Attempt]:
    """Of each request that fits, the attempt that stands for it."""
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
    wanted = Q(**{name: value for name, value in plain.items() if value})
    wanted &= _of_purpose(filters)
    if filters.method:
        wanted &= Q(method="" if filters.method == NO_ROUTE else filters.method)
    if filters.outcome == FAILED:
        wanted &= ~Q(outcome__in=SETTLED)
    elif filters.outcome:
        wanted &= Q(outcome=filters.outcome)
    if filters.provider_id:
        wanted &= _tried(filters.provider_id)
    return wanted & _FELL_BACK if filters.fell_back else wanted


def _of_purpose(filters: Filters) -> Q:
    """Probes would bury what people asked; a request that is looked for by its id is found."""
    if filters.purpose == ANY_PURPOSE or filters.request_id:
        return Q()
    return Q(purpose=filters.purpose) if filters.purpose else ~Q(purpose=Purpose.PROBE)


def _tried(provider_id: int) -> Q:
    """Also where another provider answered in its place. Only later attempts have earlier ones, so
    most rows are decided without a look at others; `pk__lt` keeps PostgreSQL from gathering all
    attempts of the provider beforehand."""
    earlier = Attempt.objects.filter(
        request_id=OuterRef("request_id"), provider_id=provider_id, pk__lt=OuterRef("pk")
    )
    return Q(provider_id=provider_id) | (Q(position__gt=1) & Q(Exists(earlier)))


_OTHER_ROUTES = Attempt.objects.filter(request_id=OuterRef("request_id")).exclude(
    provider_id=OuterRef("provider_id"), method=OuterRef("method"), endpoint=OuterRef("endpoint")
)
_FELL_BACK = Q(position__gt=1) & Q(Exists(_OTHER_ROUTES))


# `started_at` alone in front is what the index on it can begin at; the rest settles equal moments.
def _older_than(mark: Mark) -> Q:
    return Q(started_at__lte=mark.at) & (Q(started_at__lt=mark.at) | Q(pk__lt=mark.pk))


def _newer_than(mark: Mark) -> Q:
    return Q(started_at__gte=mark.at) & (Q(started_at__gt=mark.at) | Q(pk__gt=mark.pk))


def _marks(ordered: QuerySet[Attempt]) -> list[tuple[UUID, Mark]]:
    """One more than a page holds, to know whether another one follows."""
    rows = ordered.values_list("request_id", "started_at", "pk")[: PAGE + 1]
    return [(request_id, Mark(at=at, pk=pk)) for request_id, at, pk in rows]


def _gathered(viewer: User, request_ids: list[UUID]) -> list[RequestTrace]:
    """The requests with all their attempts, newest first by when they were asked."""
    attempts: defaultdict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in redact(viewer, _attempts(viewer, request_ids).defer(*_SECRETS)):
        attempts[attempt.request_id].append(attempt)
    found = [RequestTrace(attempts=tuple(each)) for each in attempts.values()]
    return sorted(found, key=lambda each: (each.first.started_at, each.first.pk), reverse=True)


def _attempts(viewer: User, request_ids: Iterable[UUID]) -> QuerySet[Attempt]:
    wanted = visible(viewer).filter(request_id__in=list(request_ids))
    return wanted.select_related("provider", "user").order_by("position", "pk")
