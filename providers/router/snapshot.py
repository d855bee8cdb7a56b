"""Read providers, models and routes as values, many in a few queries.

A Snapshot holds what operators set, a RouteSnapshot what calls have changed. They are read apart,
because the first changes rarely and the second with every outage. Pages and background tasks read
the providers they need with `load_candidates` and `load_failures`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import prefetch_related_objects

from providers.domain.frozen import frozen
from providers.domain.prices import Prices
from providers.domain.types import Method, Target
from providers.models import (
    Breaker,
    Gateway,
    LanguageModel,
    Provider,
    read_flags,
)
from providers.models import connection as connections
from providers.models.connection import Connection
from providers.policy import plan as planning
from providers.policy.domains import Domains
from providers.policy.model_names import Names
from providers.policy.route_state import RouteState
from providers.router import served_models, virtual_models
from providers.router.served_models import ServedModel


@frozen
class Candidate:
    """A provider as one request uses it: a value, without access to the database."""

    provider_id: int
    slug: str
    name: str
    connection: Connection
    policy: planning.Policy
    check_interval: timedelta
    concurrency: int | None = None
    splits_reasoning: bool = False
    alternatives: tuple[int, ...] = ()
    routes: tuple[RouteState, ...] = ()
    model_id: str = ""
    prices: Prices = field(default_factory=Prices)
    streams: bool = True

    def plan(
        self, now: datetime, alternatives: tuple[planning.FallbackProvider, ...] = ()
    ) -> planning.Plan:
        """The routes that one request tries, in order. Requests use `RouteTable.plan`."""
        return planning.plan(self.policy, self.routes, now, fresh(), alternatives)

    def target(self, route: RouteState, *, last: bool = False) -> Target:
        """Where an attempt over one of its routes goes. `last`: no other route is left to try.

        Requests use `RouteTable.target`.
        """
        target = connections.target(self.connection, route.method, self.model_id, route.endpoint)
        target = replace(target, splits_reasoning=self.splits_reasoning, streams=self.streams)
        return connections.with_last_route_timeout(target) if last else target


@frozen
class Snapshot:
    """The enabled providers and models at one moment."""

    providers: Mapping[int, Candidate]
    models: tuple[ServedModel, ...]
    virtual_models: tuple[ServedModel, ...]
    names: Names = field(repr=False)
    _by_id: Mapping[tuple[int, str], ServedModel] = field(repr=False)

    @property
    def all_models(self) -> tuple[ServedModel, ...]:
        """Every model that can be requested, virtual ones first."""
        return self.virtual_models + self.models

    def find_models(self, name: str) -> tuple[ServedModel, ...]:
        """The models of a name. Full names and aliases come before plain names.

        More than one: the name is ambiguous. Empty: no provider serves it.
        """
        return self.names.find(name)

    def find_model(self, provider_id: int, model_id: str) -> ServedModel | None:
        return self._by_id.get((provider_id, model_id))

    def find_same_model(self, model_id: str, provider_id: int) -> ServedModel | None:
        """The same model at another provider, which may prefix it with its vendor's name."""
        short = _short_name(model_id)
        if exact := self.find_model(provider_id, model_id):
            return exact
        theirs = (model for model in self.models if model.provider_id == provider_id)
        return next((model for model in theirs if _short_name(model.model_id) == short), None)


def load() -> Snapshot:
    """What operators have set: every enabled provider, and every model that can be requested."""
    read_flags()
    gateways = fallback_gateways()
    providers = Provider.objects.usable().prefetch_related("alternatives")
    candidates = {provider.pk: build_candidate(provider, gateways) for provider in providers}
    models, names = served_models.load(
        {pk: (candidate.slug, candidate.name) for pk, candidate in candidates.items()}
    )
    virtual = virtual_models.load()
    return Snapshot(
        providers=candidates,
        models=models,
        virtual_models=virtual,
        names=names.with_virtual(virtual),
        _by_id={(model.provider_id, model.model_id): model for model in models},
    )


@frozen
class RouteSnapshot:
    """What calls have changed: the routes by provider, and the breakers of models and keys."""

    routes: Mapping[int, tuple[RouteState, ...]]
    domains: Domains


def load_route_snapshot() -> RouteSnapshot:
    """What calls have changed of the enabled providers."""
    return RouteSnapshot(
        routes=load_routes(), domains=Domains(row.as_state() for row in Breaker.objects.all())
    )


def load_routes() -> dict[int, tuple[RouteState, ...]]:
    """The routes of every enabled provider, by its id."""
    read_flags()
    gateways = fallback_gateways()
    providers = Provider.objects.usable().prefetch_related("routes")
    for provider in providers:
        _ensure_routes(provider, tuple(gateways))
    return {provider.pk: route_states(provider, gateways) for provider in providers}


def load_candidates(provider_ids: Iterable[int]) -> list[Candidate]:
    """The enabled ones of these providers with their routes, in a few queries however many."""
    read_flags()
    gateways = fallback_gateways()
    enabled = Provider.objects.usable().filter(pk__in=list(provider_ids))
    providers = list(enabled.prefetch_related("routes", "alternatives"))
    for provider in providers:
        _ensure_routes(provider, tuple(gateways))
    routes = {provider.pk: route_states(provider, gateways) for provider in providers}
    domains = failed_domains(route for each in routes.values() for route in each)
    return [
        replace(
            build_candidate(provider, gateways),
            routes=tuple(domains.attach_breakers(route, "") for route in routes[provider.pk]),
        )
        for provider in providers
    ]


def load_candidate(provider_id: int, model_id: str = "") -> Candidate | None:
    """One provider with its routes; None where it is gone or disabled."""
    candidates = load_candidates([provider_id])
    if not candidates:
        return None
    candidate = replace(candidates[0], model_id=model_id)
    model = LanguageModel.objects.filter(provider=provider_id, model_id=model_id).first()
    if model is None:
        return candidate
    return replace(candidate, prices=Prices.of(vars(model)), streams=model.streaming)


@frozen
class Failures:
    """The breakers that have failed of some providers, read at once for a page that lists them."""

    gateways: Mapping[str, str] = field(repr=False)
    domains: Domains

    def routes(self, provider: Provider, model_id: str = "") -> tuple[RouteState, ...]:
        """A provider's prefetched routes, with the breakers of its key and of this model."""
        routes = route_states(provider, self.gateways)
        return tuple(self.domains.attach_breakers(route, model_id) for route in routes)


def load_failures(providers: Iterable[Provider]) -> Failures:
    """The failures of these providers in three queries, however many; prefetches their routes."""
    providers, gateways = list(providers), fallback_gateways()
    prefetch_related_objects(providers, "routes")
    routes = [route for provider in providers for route in route_states(provider, gateways)]
    return Failures(gateways=gateways, domains=failed_domains(routes))


def failed_domains(routes: Iterable[RouteState]) -> Domains:
    """The breakers of the models and keys of these routes."""
    routes = list(routes)
    rows = Breaker.objects.concerning({r.route_id for r in routes}, {r.key for r in routes})
    return Domains(row.as_state() for row in rows)


def fallback_gateways() -> dict[str, str]:
    """Address and key of the gateways that every provider may fall back to."""
    return {each.url: each.api_key for each in Gateway.objects.filter(enabled=True)}


def build_candidate(provider: Provider, gateways: Mapping[str, str]) -> Candidate:
    """A stored provider as a value, without its routes."""
    return Candidate(
        provider_id=provider.pk,
        slug=provider.slug,
        name=provider.name,
        connection=connection(provider, gateways),
        policy=policy(provider),
        check_interval=timedelta(seconds=provider.health_check_interval),
        concurrency=provider.concurrency,
        splits_reasoning=provider.splits_reasoning,
        alternatives=tuple(other.pk for other in provider.alternatives.all()),
    )


def connection(provider: Provider, gateways: Mapping[str, str] | None = None) -> Connection:
    """A stored provider's addresses and keys."""
    return provider.connection(gateways or {})


def policy(provider: Provider) -> planning.Policy:
    """A stored provider's settings for planning."""
    return planning.Policy(
        routing_method=provider.routing_method,
        provider_type=provider.provider_type,
        prefer_direct=provider.prefer_direct,
        fallback_enabled=provider.fallback_enabled,
    )


def route_states(
    provider: Provider, gateways: Mapping[str, str] | None = None
) -> tuple[RouteState, ...]:
    """A provider's prefetched routes, without the breakers of model and key; fallbacks last.

    `gateways` maps fallback gateways to their keys.
    """
    own_endpoint = provider.endpoint()
    account = connection(provider, gateways)
    routes = [
        route.as_state(
            is_fallback=route.method == Method.GATEWAY and route.endpoint != own_endpoint,
            key=connections.fingerprint(account, Method(route.method), route.endpoint),
        )
        for route in provider.routes.all()
    ]
    return tuple(sorted(routes, key=lambda route: route.is_fallback))


def _ensure_routes(provider: Provider, gateways: tuple[str, ...]) -> None:
    """Create the provider's missing routes, and delete those it should not have any more."""
    existing = {(route.method, route.endpoint) for route in provider.routes.all()}
    if existing != provider.route_keys(gateways):
        provider.ensure_routes()
        provider.refresh_from_db(from_queryset=Provider.objects.prefetch_related("routes"))


def _short_name(model_id: str) -> str:
    """The name without its vendor: `z-ai/glm-4.6` and `GLM-4.6` are the same model."""
    return model_id.rpartition("/")[2].lower()


def fresh() -> timedelta:
    """How long a learned method is used without a new success."""
    return timedelta(seconds=settings.ROUTING_FRESH)
