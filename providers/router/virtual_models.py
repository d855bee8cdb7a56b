"""Read the virtual models that can be requested, with the members that are in use."""

from collections.abc import Iterable, Sequence
from typing import Any

from providers.domain.prices import Prices
from providers.models import VirtualMember
from providers.policy.members import Member, MemberList, Strategy
from providers.router.served_models import ServedModel

OWNER = "virtual"  # stands where a model has its provider's slug


def load(models: Iterable[ServedModel]) -> tuple[ServedModel, ...]:
    """The enabled virtual models, by name. One without a member in use cannot be requested."""
    by_key = {(model.provider_id, model.model_id): model for model in models}
    rows = VirtualMember.objects.filter(enabled=True, virtual_model__enabled=True)
    served: dict[int, tuple[VirtualMember, list[tuple[VirtualMember, ServedModel]]]] = {}
    for row in rows.select_related("virtual_model", "model").order_by(
        "virtual_model__name", "position", "pk"
    ):
        if model := by_key.get((row.model.provider_id, row.model.model_id)):
            served.setdefault(row.virtual_model_id, (row, []))[1].append((row, model))
    return tuple(_build(first, members) for first, members in served.values())


def _build(
    first: VirtualMember, members: Sequence[tuple[VirtualMember, ServedModel]]
) -> ServedModel:
    row, models = first.virtual_model, [model for _, model in members]
    virtual = MemberList(
        pk=row.pk,
        name=row.name,
        strategy=Strategy(row.strategy),
        members=tuple(_member(each, model) for each, model in members),
    )
    prices = {model.prices for model in models}
    return ServedModel(
        provider_id=models[0].provider_id,
        provider_slug=OWNER,
        provider_name=row.name,
        model_id=models[0].model_id,
        name=row.name,
        alias="",
        context=_largest(model.context for model in models),
        output_limit=_largest(model.output_limit for model in models),
        first_seen=row.created_at,
        prices=prices.pop() if len(prices) == 1 else Prices(),
        virtual=virtual,
        **{name: _any(models, name) for name in ("vision", "tools", "reasoning", "json_output")},
    )


def _member(row: VirtualMember, model: ServedModel) -> Member:
    return Member(
        provider_id=model.provider_id,
        model_id=model.model_id,
        name=model.full_name,
        weight=row.weight,
        context=model.context,
        vision=model.vision,
        tools=model.tools,
        json_output=model.json_output,
        prices=model.prices,
    )


def _largest(limits: Iterable[int | None]) -> int | None:
    return max((limit for limit in limits if limit), default=None)


def _any(models: Iterable[ServedModel], ability: str) -> Any:
    """Whether any member has the ability; None where none is known to, and some may."""
    values = {getattr(model, ability) for model in models}
    return True if True in values else None if None in values else False
