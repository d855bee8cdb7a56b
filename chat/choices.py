"""What a person picks to answer: a language model, or a virtual model. In forms a language model
has its number as value, a virtual model `virtual-` and its number."""

import re

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet

from providers.domain.frozen import frozen
from providers.models import LanguageModel, VirtualMember, VirtualModel
from providers.policy.members import MemberList
from providers.router import virtual_models

_VALUE = re.compile(r"(virtual-)?(\d{1,18})")


@frozen
class Choice:
    """`language_model` is the first member's where `virtual_model` is picked."""

    language_model: LanguageModel
    virtual_model: VirtualModel | None = None


def value_of(language_model_id: int | None, virtual_model_id: int | None) -> str:
    """The value in forms; empty for no model."""
    return f"virtual-{virtual_model_id}" if virtual_model_id else str(language_model_id or "")


def is_value(text: str) -> bool:
    """Whether this names a model at all, whether or not that is there."""
    return _VALUE.fullmatch(text) is not None


def find(value: str) -> Choice | None:
    """The model with this value, if it can be used now."""
    match = _VALUE.fullmatch(value)
    if match is None:
        return None
    if not match[1]:
        usable = LanguageModel.objects.usable().filter(pk=match[2]).select_related("provider")
        model = usable.first()
        return Choice(language_model=model) if model else None
    first = _select_members(int(match[2])).first()
    return Choice(language_model=first.model, virtual_model=first.virtual_model) if first else None


def find_members(virtual_model_id: int) -> MemberList | None:
    """The members of a virtual model that is in use; None where nothing can answer."""
    rows = list(_select_members(virtual_model_id))
    return virtual_models.build_members(rows) if rows else None


def _select_members(virtual_model_id: int) -> QuerySet[VirtualMember]:
    rows = virtual_models.members_in_use()
    return rows.filter(virtual_model=virtual_model_id, virtual_model__enabled=True)


def usable_virtual_models() -> QuerySet[VirtualModel]:
    """The virtual models that can be picked."""
    members = virtual_models.members_in_use().filter(virtual_model=OuterRef("pk")).order_by()
    return VirtualModel.objects.filter(Exists(members), enabled=True)


def virtual_options(user: User) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Values and names of the virtual models: the user's favourites, and the others."""
    through = VirtualModel.favoured_by.through.objects
    starred = Exists(through.filter(virtualmodel=OuterRef("pk"), user=user.pk))
    options: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for virtual in usable_virtual_models().annotate(starred=starred):
        options[not virtual.starred].append((f"virtual-{virtual.pk}", virtual.name))
    return options
