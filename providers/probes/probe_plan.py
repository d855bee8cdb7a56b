"""Which routes a probe would learn something from, and whether it may also send a short chat.

Read for many providers at once, in a few statements. What is returned may be asked: the trials of
open routes are claimed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import F, Sum
from django.utils import timezone

from providers.domain.frozen import frozen
from providers.domain.prices import Prices
from providers.infra import feature_flags
from providers.models import Attempt, LanguageModel, Provider, Purpose
from providers.policy import breaker, plan
from providers.policy.route_state import RouteState
from providers.protocols import model_list
from providers.router import breaker_rows, snapshot
from providers.router.snapshot import Candidate
from providers.vendors import presets


@frozen
class Probe:
    """One provider's check: the routes to ask. `chat` is the candidate with the model that may be
    sent a short chat; None where no chat may be sent."""

    candidate: Candidate
    routes: tuple[RouteState, ...]
    chat: Candidate | None = None


def load(provider_ids: Sequence[int]) -> list[Probe]:
    """The checks of these providers; those of which traffic tells enough have no route to ask."""
    now = timezone.now()
    candidates = snapshot.load_some(provider_ids)
    chats = _chats([each for each in candidates if _may_chat(each)], now)
    return [
        Probe(candidate=each, routes=_asked(each, now), chat=chats.get(each.provider_id))
        for each in candidates
    ]


def _asked(candidate: Candidate, now: datetime) -> tuple[RouteState, ...]:
    routes = (_claimed(route, now) for route in _wanted(candidate, now))
    return tuple(route for route in routes if route)


def _wanted(candidate: Candidate, now: datetime) -> list[RouteState]:
    """The routes that may be used and tell something. Where the method is learned, the one that
    is not used at present must show by probes that it is back."""
    policy = candidate.policy
    if policy.routing_method == "auto":
        policy = replace(policy, fallback_enabled=True)
    routes = plan.in_order(policy, candidate.routes, now, snapshot.fresh())
    return [route for route in routes if tells(route, now, candidate.check_interval)]


def tells(route: RouteState, now: datetime, interval: timedelta) -> bool:
    """Whether to probe this route. Skips open breakers, keys in a cooldown, routes with a recent
    success, and healthy fallbacks."""
    if any(other.breaker.state != breaker.State.CLOSED for other in route.others):
        return False  # a list of models does not show that a key may chat again
    if not breaker.admits(route.breaker, now):
        return False
    if route.breaker.state != breaker.State.CLOSED:
        return True
    return not route.is_fallback and not _is_fresh(route, now, interval)


def _is_fresh(route: RouteState, now: datetime, interval: timedelta) -> bool:
    good, last = route.last_success_at, route.last_outcome_at
    return bool(good and last and good >= last and now - good < interval / 2)


def _claimed(route: RouteState, now: datetime) -> RouteState | None:
    """The route, on trial where it is open; None where somebody else has the trial."""
    if route.breaker.state == breaker.State.CLOSED:
        return route
    return breaker_rows.claim_trial(route, "", now)


def _may_chat(candidate: Candidate) -> bool:
    return presets.get(candidate.connection.preset).probe_chat_allowed


def _chats(candidates: Iterable[Candidate], now: datetime) -> dict[int, Candidate]:
    """By provider: itself with the model to chat with, where today's probes have cost less than
    the operator grants."""
    if not feature_flags.on("chat_probes"):
        return {}
    asked = {each.provider_id: each for each in candidates}
    wanting = Provider.objects.filter(pk__in=asked, chat_probe=True)
    caps = dict(wanting.values_list("pk", "chat_probe_cap"))
    if not caps:
        return {}
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today = Attempt.objects.filter(
        provider__in=caps, purpose=Purpose.PROBE, started_at__gte=midnight
    )
    costs = today.order_by().values("provider").annotate(cost=Sum("cost"))
    spent = {row["provider"]: row["cost"] or 0 for row in costs}
    models = _cheapest([pk for pk, cap in caps.items() if spent.get(pk, 0) < cap])
    return {pk: replace(asked[pk], model_id=m, prices=p) for pk, (m, p) in models.items()}


def _cheapest(provider_ids: Iterable[int]) -> dict[int, tuple[str, Prices]]:
    """Each provider's model that chats for the least money; a known price before an unknown one."""
    models = LanguageModel.objects.usable().filter(provider__in=list(provider_ids))
    by_price = models.order_by(F("output_price").asc(nulls_last=True), "model_id")
    found: dict[int, tuple[str, Prices]] = {}
    for pk, model_id, into, out in by_price.values_list(
        "provider", "model_id", "input_price", "output_price"
    ):
        if pk not in found and chats(model_id):
            found[pk] = (model_id, Prices(input=into, output=out))
    return found


def chats(model_id: str) -> bool:
    """Whether a model's id looks like one that chats."""
    return model_list.guess_kind(model_id) == "chat"
