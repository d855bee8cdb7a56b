"""Read the virtual models that can be requested, with the members that are in use."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from django.db.models import QuerySet

from providers.domain.prices import Prices
from providers.domain.types import known_abilities
from providers.models import LanguageModel, VirtualMember
from providers.policy.members import Member, MemberList, Strategy
from providers.router.served_models import ServedModel, known_kinds

OWNER = "virtual"  # stands where a model has its provider's slug


def load() -> tuple[ServedModel, ...]:
    """The enabled virtual models, by name. One without a member in use cannot be requested."""
    rows = members_in_use().filter(virtual_model__enabled=True)
    return tuple(
        _build_served(list(members)) for _, members in groupby(rows, lambda row: row.virtual_model)
    )


def members_in_use() -> QuerySet[VirtualMember]:
    """The members that may answer, each with its model and provider; in order."""
    rows = VirtualMember.objects.filter(enabled=True, model__in=LanguageModel.objects.usable())
    related = rows.select_related("virtual_model", "model__provider")
    return related.order_by("virtual_model__name", "position", "pk")


def build_members(rows: Sequence[VirtualMember]) -> MemberList:
    """The members of one virtual model as a value; at least one."""
    virtual = rows[0].virtual_model
    return MemberList(
        pk=virtual.pk,
        name=virtual.name,
        strategy=Strategy(virtual.strategy),
        members=tuple(_build_member(row) for row in rows),
    )


def full_name(model: LanguageModel) -> str:
    """The name that no other model has."""
    return f"{model.provider.slug}/{model.model_id}"


def _build_member(row: VirtualMember) -> Member:
    model, abilities = row.model, known_abilities(vars(row.model))
    return Member(
        provider_id=model.provider_id,
        model_id=model.model_id,
        name=full_name(model),
        weight=row.weight,
        context=model.context,
        prices=Prices.of(vars(model)),
        **{name: abilities[name] for name in ("vision", "tools", "json_output")},
    )


def _build_served(rows: Sequence[VirtualMember]) -> ServedModel:
    members, models, virtual = (
        build_members(rows),
        [row.model for row in rows],
        rows[0].virtual_model,
    )
    prices = {member.prices for member in members.members}
    abilities = [known_abilities(vars(model)) for model in models]
    return ServedModel(
        provider_id=models[0].provider_id,
        provider_slug=OWNER,
        provider_name=virtual.name,
        model_id=models[0].model_id,
        name=virtual.name,
        alias="",
        context=_largest(model.context for model in models),
        output_limit=_largest(model.output_limit for model in models),
        first_seen=virtual.created_at,
        prices=prices.pop() if len(prices) == 1 else Prices(),
        virtual=members,
        kinds=_join_kinds(models),
        vision=_any(each["vision"] for each in abilities),
        tools=_any(each["tools"] for each in abilities),
        reasoning=_any(each["reasoning"] for each in abilities),
        json_output=_any(each["json_output"] for each in abilities),
    )


def _join_kinds(models: Iterable[LanguageModel]) -> frozenset[str]:
    """What its members are for together; empty, for unknown, where that is unknown of any."""
    kinds = [known_kinds(vars(model)) for model in models]
    return frozenset().union(*kinds) if all(kinds) else frozenset()


def _largest(limits: Iterable[int | None]) -> int | None:
    return max((limit for limit in limits if limit), default=None)


def _any(abilities: Iterable[bool | None]) -> bool | None:
    """Whether any member has the ability; None where none is known to, and some may."""
    values = set(abilities)
    return True if True in values else None if None in values else False
