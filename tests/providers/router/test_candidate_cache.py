"""The cache of plans and targets: built once for the current candidate, computed for any other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from providers.models import Provider
from providers.policy.breaker import BreakerState, State
from providers.router import snapshot
from providers.router.candidate_cache import CandidateCache
from providers.router.snapshot import Candidate, Snapshot

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(make_provider: MakeProvider) -> Provider:
    return make_provider()


@pytest.fixture
def loaded(provider: Provider) -> Snapshot:
    return snapshot.load()


def cached(cache: CandidateCache, loaded: Snapshot, provider: Provider) -> Candidate:
    routes = snapshot.load_routes()[provider.pk]
    candidate = cache.candidate(loaded, provider.pk, "m", routes)
    assert candidate is not None
    return candidate


def test_returns_the_same_candidate_until_the_snapshot_or_a_route_changes(
    loaded: Snapshot, provider: Provider
) -> None:
    """Equal routes are enough: a new copy of the rows changes nothing."""
    cache = CandidateCache()
    first = cached(cache, loaded, provider)
    assert cached(cache, loaded, provider) is first
    open_routes = tuple(
        replace(route, breaker=BreakerState(state=State.OPEN)) for route in first.routes
    )
    changed = cache.candidate(loaded, provider.pk, "m", open_routes)
    assert changed is not None
    assert changed.routes == open_routes
    assert cached(cache, snapshot.load(), provider) is not first


def test_returns_none_for_an_unknown_provider(loaded: Snapshot, provider: Provider) -> None:
    """It is removed or disabled."""
    assert CandidateCache().candidate(loaded, provider.pk + 1, "m", ()) is None


def test_builds_plan_and_target_once(loaded: Snapshot, provider: Provider) -> None:
    """Every request of a quiet instance uses the same ones."""
    cache, now = CandidateCache(), timezone.now()
    candidate = cached(cache, loaded, provider)
    plan = cache.plan(candidate, now)
    assert plan == candidate.plan(now)
    assert cache.plan(candidate, now + timedelta(hours=1)) is plan
    target = cache.target(candidate, candidate.routes[0])
    assert target == candidate.target(candidate.routes[0])
    assert cache.target(candidate, candidate.routes[0]) is target
    assert cache.target(candidate, candidate.routes[0], last=True) != target


def test_computes_a_plan_that_changes_with_time_each_time(
    loaded: Snapshot, provider: Provider
) -> None:
    """A cooldown that is over makes another plan."""
    cache, now = CandidateCache(), timezone.now()
    routes = tuple(
        replace(route, breaker=BreakerState(state=State.OPEN, retry_at=now + timedelta(seconds=9)))
        for route in cached(cache, loaded, provider).routes
    )
    candidate = cache.candidate(loaded, provider.pk, "m", routes)
    assert candidate is not None
    assert not cache.plan(candidate, now).routes
    assert cache.plan(candidate, now + timedelta(seconds=10)).routes


def test_computes_for_a_candidate_that_is_not_current(loaded: Snapshot, provider: Provider) -> None:
    """A request that began before a change goes on with its own candidate."""
    cache, now = CandidateCache(), timezone.now()
    own = replace(cached(cache, loaded, provider), model_id="other")
    assert cache.plan(own, now) == own.plan(now)
    assert cache.target(own, own.routes[0]).model == "other"
