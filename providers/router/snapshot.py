"""All that calls need to know, read at once and frozen: providers, their models, their routes.

What operators set and what calls have changed are read apart: the first changes rarely, the second
with every outage. One provider can also be read alone, by what is not in a hurry.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, prefetch_related_objects
from django.db.models.functions import JSONObject

from providers.domain.frozen import frozen
from providers.domain.prices import Prices
from providers.domain.types import ABILITIES, Method, Target, known_abilities
from providers.models import (
    Breaker,
    Gateway,
    LanguageModel,
    ModelAlias,
    ModelKind,
    Provider,
    read_flags,
)
from providers.models import connection as connections
from providers.models.connection import Connection
from providers.policy import plan as planning
from providers.policy.domains import Domains
from providers.policy.model_names import Names, build_names
from providers.policy.route_state import RouteState


@frozen
class Candidate:
    """A provider as one call sees it: nothing here reaches back into storage."""

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
    _targets: dict[tuple[int, bool], Target] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _plans: list[planning.Plan] = field(
        default_factory=list, init=False, repr=False, compare=False
    )  # none or one

    def plan(
        self, now: datetime, alternatives: tuple[planning.FallbackProvider, ...] = ()
    ) -> planning.Plan:
        """The routes of one request; made once where nothing of it changes with time."""
        if self._plans and not alternatives:
            return self._plans[0]
        made = planning.plan(self.policy, self.routes, now, fresh(), alternatives)
        if not alternatives and planning.is_timeless(self.routes):
            self._plans.append(made)
        return made

    def target(self, route: RouteState, *, last: bool = False) -> Target:
        """Where an attempt over one of its routes goes; made once. `last`: none follows it."""
        if found := self._targets.get((route.route_id, last)):
            return found
        made = connections.target(self.connection, route.method, self.model_id, route.endpoint)
        made = replace(made, splits_reasoning=self.splits_reasoning, streams=self.streams)
        made = connections.with_last_route_timeout(made) if last else made
        self._targets[route.route_id, last] = made
        return made


@frozen
class Served:
    """A model that may be asked for, and whom to ask."""

    provider_id: int
    provider_slug: str
    provider_name: str
    model_id: str
    name: str
    alias: str
    context: int | None
    output_limit: int | None
    first_seen: datetime
    prices: Prices
    # None where nobody says.
    vision: bool | None = None
    tools: bool | None = None
    reasoning: bool | None = None
    json_output: bool | None = None
    takes: tuple[str, ...] | None = None
    streams: bool = True
    further_aliases: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """What tells it from the same model of another provider."""
        return f"{self.provider_slug}/{self.model_id}"


@frozen
class Snapshot:
    """The enabled providers and models, as they were at one moment."""

    providers: Mapping[int, Candidate]
    models: tuple[Served, ...]
    names: Names = field(repr=False)
    _by_id: Mapping[tuple[int, str], Served] = field(repr=False)

    def named(self, name: str) -> tuple[Served, ...]:
        """The models that a name means: its full name and its alias before the plain one.

        More than one: the name is ambiguous. None: nobody serves it.
        """
        return self.names.find(name)

    def served(self, provider_id: int, model_id: str) -> Served | None:
        return self._by_id.get((provider_id, model_id))

    def same_model(self, model_id: str, provider_id: int) -> Served | None:
        """The same model at another provider, which may put its vendor's name before it."""
        short = _short(model_id)
        if exact := self.served(provider_id, model_id):
            return exact
        theirs = (model for model in self.models if model.provider_id == provider_id)
        return next((model for model in theirs if _short(model.model_id) == short), None)


def load() -> Snapshot:
    """What operators have set: every enabled provider, every model that may be asked for."""
    read_flags()
    further = spares()
    providers = Provider.objects.usable().prefetch_related("alternatives")
    candidates = {each.pk: candidate(each, further) for each in providers}
    rows = list(_model_rows())
    models = tuple(_served(candidates, rows))
    return Snapshot(
        providers=candidates,
        models=models,
        names=build_names(models, _further(rows), _other_kinds(rows)),
        _by_id={(model.provider_id, model.model_id): model for model in models},
    )


@frozen
class RouteSnapshot:
    """What calls have changed: routes by provider, and the domains beside them that failed."""

    routes: Mapping[int, tuple[RouteState, ...]]
    domains: Domains


def load_route_snapshot() -> RouteSnapshot:
    """All that calls have changed of the enabled providers."""
    return RouteSnapshot(
        routes=load_routes(), domains=Domains(row.as_state() for row in Breaker.objects.all())
    )


def load_routes() -> dict[int, tuple[RouteState, ...]]:
    """The routes of every enabled provider, by its id."""
    read_flags()
    providers = Provider.objects.usable().prefetch_related("routes")
    further = spares()
    for provider in providers:
        _make_roads(provider, tuple(further))
    return {provider.pk: states(provider, further) for provider in providers}


def load_some(provider_ids: Iterable[int]) -> list[Candidate]:
    """The enabled ones of these providers with their routes, in a few queries however many."""
    read_flags()
    further = spares()
    providers = Provider.objects.usable().filter(pk__in=list(provider_ids))
    listed = list(providers.prefetch_related("routes", "alternatives"))
    for provider in listed:
        _make_roads(provider, tuple(further))
    routes = {provider.pk: states(provider, further) for provider in listed}
    known = failed_domains(route for each in routes.values() for route in each)
    return [
        replace(
            candidate(provider, further),
            routes=tuple(known.attach_breakers(route, "") for route in routes[provider.pk]),
        )
        for provider in listed
    ]


@frozen
class Failures:
    """What has failed of some providers: their models and keys, read at once for a page of them."""

    further: Mapping[str, str] = field(repr=False)
    domains: Domains

    def routes(self, provider: Provider, model_id: str = "") -> tuple[RouteState, ...]:
        """A provider's prefetched routes, with the breakers of its key and of this model."""
        found = states(provider, self.further)
        return tuple(self.domains.attach_breakers(route, model_id) for route in found)


def failures(providers: Iterable[Provider]) -> Failures:
    """The same in two queries, however many providers, and one more for their routes."""
    listed, further = list(providers), spares()
    prefetch_related_objects(listed, "routes")
    routes = [route for provider in listed for route in states(provider, further)]
    return Failures(further=further, domains=failed_domains(routes))


def failed_domains(routes: Iterable[RouteState]) -> Domains:
    """What is known of the models and the keys of these routes."""
    listed = list(routes)
    rows = Breaker.objects.concerning({r.route_id for r in listed}, {r.key for r in listed})
    return Domains(row.as_state() for row in rows)


def load_one(provider_id: int, model_id: str = "") -> Candidate | None:
    """One provider; None where it is gone or switched off."""
    found = load_some([provider_id])
    if not found:
        return None
    model = LanguageModel.objects.filter(provider=provider_id, model_id=model_id).first()
    if model is None:
        return replace(found[0], model_id=model_id)
    prices = Prices.of(vars(model))
    return replace(found[0], model_id=model_id, prices=prices, streams=model.streaming)


def spares() -> dict[str, str]:
    """The further gateways that stand in: address and key."""
    return {each.url: each.api_key for each in Gateway.objects.filter(enabled=True)}


def candidate(provider: Provider, spares: Mapping[str, str]) -> Candidate:
    """A stored provider as calls see it, without its routes."""
    return Candidate(
        provider_id=provider.pk,
        slug=provider.slug,
        name=provider.name,
        connection=connection(provider, spares),
        policy=policy(provider),
        check_interval=timedelta(seconds=provider.health_check_interval),
        concurrency=provider.concurrency,
        splits_reasoning=provider.splits_reasoning,
        alternatives=tuple(other.pk for other in provider.alternatives.all()),
    )


def connection(provider: Provider, spares: Mapping[str, str] | None = None) -> Connection:
    """How a stored provider is reached."""
    return provider.connection(spares or {})


def policy(provider: Provider) -> planning.Policy:
    return planning.Policy(
        routing_method=provider.routing_method,
        provider_type=provider.provider_type,
        prefer_direct=provider.prefer_direct,
        fallback_enabled=provider.fallback_enabled,
    )


def states(provider: Provider, further: Mapping[str, str] | None = None) -> tuple[RouteState, ...]:
    """A provider's prefetched routes as values, without their other breakers; fallbacks last.

    `further` are the keys of the gateways that stand in, by address.
    """
    own = provider.endpoint()
    reached = connection(provider, further)
    found = [
        route.as_state(
            is_fallback=route.method == Method.GATEWAY and route.endpoint != own,
            key=connections.fingerprint(reached, Method(route.method), route.endpoint),
        )
        for route in provider.routes.all()
    ]
    return tuple(sorted(found, key=lambda route: route.is_fallback))


def _make_roads(provider: Provider, gateways: tuple[str, ...]) -> None:
    """Sees to it that the provider's prefetched routes are those it should have."""
    existing = {(route.method, route.endpoint) for route in provider.routes.all()}
    if existing != provider.roads(gateways):
        provider.ensure_routes()
        provider.refresh_from_db(from_queryset=Provider.objects.prefetch_related("routes"))


_PRICES = ("input_price", "output_price", "cache_read_price", "cache_write_price")
_FACTS = ("model_id", "name", "alias", "context", "output_limit", "first_seen")
type _Row = Mapping[str, Any]


def _model_rows() -> Iterable[_Row]:
    """Models in use, and those that nobody uses because they do not chat, with further aliases."""
    usable = Q(pk__in=LanguageModel.objects.usable().values("pk"))
    other = Q(enabled=False, provider__removed_at=None) & ~Q(kind=ModelKind.CHAT)
    aliases = ModelAlias.objects.filter(model=OuterRef("pk"))
    named = aliases.values(pair=JSONObject(name="name", position="position"))
    rows = LanguageModel.objects.filter(usable | other).order_by("provider__name", "name")
    annotated = rows.annotate(further=ArraySubquery(named))
    columns = ("provider_id", "provider__slug", "kind", "enabled", "sources", "takes", "streaming")
    found: Iterable[_Row] = annotated.values(
        *columns, "further", *_PRICES, *_FACTS, *ABILITIES
    ).iterator(2000)
    return found


def _served(candidates: Mapping[int, Candidate], rows: Iterable[_Row]) -> Iterable[Served]:
    for row in rows:
        provider = candidates.get(row["provider_id"])
        if provider and row["enabled"]:
            yield Served(
                provider_id=provider.provider_id,
                provider_slug=provider.slug,
                provider_name=provider.name,
                prices=Prices.of(row),
                streams=row["streaming"],
                takes=None if row["takes"] is None else tuple(row["takes"]),
                further_aliases=tuple(sorted(each["name"] for each in row["further"])),
                **{name: row[name] for name in _FACTS},
                **known_abilities(row),
            )


def _further(rows: Iterable[_Row]) -> Iterable[tuple[str, tuple[int, str]]]:
    """Each further alias with its model, those of one name in their order."""
    found = [
        (each["position"], each["name"], (row["provider_id"], row["model_id"]))
        for row in rows
        for each in row["further"]
    ]
    return [(name, key) for _, name, key in sorted(found)]


def _other_kinds(rows: Iterable[_Row]) -> dict[str, str]:
    """The names of what is not in use because it does not chat, each with its kind."""
    return {
        name: row["kind"]
        for row in rows
        if not row["enabled"]
        for name in (
            row["model_id"],
            f"{row['provider__slug']}/{row['model_id']}",
            row["alias"],
            *(each["name"] for each in row["further"]),
        )
        if name
    }


def _short(model_id: str) -> str:
    """`z-ai/glm-4.6` and `GLM-4.6` are one model."""
    return model_id.rpartition("/")[2].lower()


def fresh() -> timedelta:
    """How long a learned route is believed."""
    return timedelta(seconds=settings.ROUTING_FRESH)
