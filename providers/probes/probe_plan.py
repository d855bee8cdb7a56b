"""Plan probes: which routes are worth a call, and whether a short chat may follow.

Plans for many providers are read in a few statements. A planned probe may be sent: the half-open
probes of open breakers are claimed.
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
    """One provider's check: the routes to call. `chat` is the candidate with the model for a short
    chat; None where no chat may be sent."""

    candidate: Candidate
    routes: tuple[RouteState, ...]
    chat: Candidate | None = None


def plan_probes(provider_ids: Sequence[int]) -> list[Probe]:
    """One probe for each provider; without routes where recent traffic shows enough."""
    now = timezone.now()
    candidates = snapshot.load_candidates(provider_ids)
    chats = _chat_candidates([each for each in candidates if _may_chat(each)], now)
    return [
        Probe(candidate=each, routes=_claim_routes(each, now), chat=chats.get(each.provider_id))
        for each in candidates
    ]


def _claim_routes(candidate: Candidate, now: datetime) -> tuple[RouteState, ...]:
    routes = (_claim_route(route, now) for route in _routes_to_probe(candidate, now))
    return tuple(route for route in routes if route)


def _routes_to_probe(candidate: Candidate, now: datetime) -> list[RouteState]:
    """The routes of the policy that need a probe. Where the method is automatic, only a probe can
    show that the method not in use has recovered."""
    policy = candidate.policy
    if policy.routing_method == "auto":
        policy = replace(policy, fallback_enabled=True)
    routes = plan.in_order(policy, candidate.routes, now, snapshot.fresh())
    return [route for route in routes if needs_probe(route, now, candidate.check_interval)]


def needs_probe(route: RouteState, now: datetime, interval: timedelta) -> bool:
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


def _claim_route(route: RouteState, now: datetime) -> RouteState | None:
    """Claim the half-open probe of an open route; None where another process has it."""
    if route.breaker.state == breaker.State.CLOSED:
        return route
    return breaker_rows.claim_trial(route, "", now)


def _may_chat(candidate: Candidate) -> bool:
    return presets.get(candidate.connection.preset).probe_chat_allowed


def _chat_candidates(candidates: Iterable[Candidate], now: datetime) -> dict[int, Candidate]:
    """Each provider's candidate with its cheapest model, where today's probes cost less than the
    operator's daily budget."""
    if not feature_flags.is_enabled("chat_probes"):
        return {}
    by_provider = {each.provider_id: each for each in candidates}
    enabled = Provider.objects.filter(pk__in=by_provider, chat_probe=True)
    caps = dict(enabled.values_list("pk", "chat_probe_cap"))
    if not caps:
        return {}
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today = Attempt.objects.filter(
        provider__in=caps, purpose=Purpose.PROBE, started_at__gte=midnight
    )
    costs = today.order_by().values("provider").annotate(cost=Sum("cost"))
    spent = {row["provider"]: row["cost"] or 0 for row in costs}
    models = _cheapest_models([pk for pk, cap in caps.items() if spent.get(pk, 0) < cap])
    return {pk: replace(by_provider[pk], model_id=m, prices=p) for pk, (m, p) in models.items()}


def _cheapest_models(provider_ids: Iterable[int]) -> dict[int, tuple[str, Prices]]:
    """Each provider's cheapest chat model; a known price comes before an unknown one."""
    models = LanguageModel.objects.usable().filter(provider__in=list(provider_ids))
    by_price = models.order_by(F("output_price").asc(nulls_last=True), "model_id")
    cheapest: dict[int, tuple[str, Prices]] = {}
    for pk, model_id, into, out in by_price.values_list(
        "provider", "model_id", "input_price", "output_price"
    ):
        if pk not in cheapest and is_chat_model(model_id):
            cheapest[pk] = (model_id, Prices(input=into, output=out))
    return cheapest


def is_chat_model(model_id: str) -> bool:
    """Whether a model's id looks like that of a chat model."""
    return model_list.guess_kind(model_id) == "chat"
