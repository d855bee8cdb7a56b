"""A half-open probe is claimed on the rows, and locks no more of them than it needs."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from providers.models import Provider, Route
from providers.policy.breaker import State
from providers.router import breaker_rows

pytestmark = pytest.mark.django_db


def test_a_claim_locks_its_route_and_never_the_provider(
    make_provider: Callable[..., Provider],
) -> None:
    """Writers lock providers before routes: a claim in the other order is a deadlock."""
    provider, past = make_provider(), timezone.now()
    provider.routes.update(state=State.OPEN, opened_at=past, retry_at=past, last_kind="network")
    route = Route.objects.filter(provider=provider).order_by("pk")[0].as_state()
    with CaptureQueriesContext(connection) as queries:
        claimed = breaker_rows.claim_trial(route, "m", timezone.now())
    assert claimed
    assert claimed.breaker.state == State.HALF_OPEN
    locks = [query["sql"] for query in queries if "FOR NO KEY UPDATE" in query["sql"]]
    assert locks
    assert not [sql for sql in locks if Provider._meta.db_table in sql]
