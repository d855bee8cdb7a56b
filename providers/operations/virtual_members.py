"""Add, order, weight, pause and remove the members of a virtual model."""

from django.contrib.auth.models import User
from django.db import transaction

from providers.infra import replicas
from providers.models import LanguageModel, VirtualMember, VirtualModel
from providers.operations import audit


def describe_members(virtual: VirtualModel) -> str:
    """The members in their order, in words, as the audit log has them."""
    rows = virtual.members.select_related("model__provider")
    return ", ".join(
        f"{row.model.provider.slug}/{row.model.model_id} x{row.weight}"
        + ("" if row.enabled else " (paused)")
        for row in rows
    )


def add(user: User, virtual: VirtualModel, model: LanguageModel, weight: int) -> None:
    """Add a member behind the others; a model that is one already only gets the weight."""
    with transaction.atomic():
        before = describe_members(virtual)
        row, is_new = VirtualMember.objects.get_or_create(
            virtual_model=virtual,
            model=model,
            defaults={"weight": weight, "position": virtual.members.count()},
        )
        if not is_new:
            row.weight = weight
            row.save(update_fields=["weight"])
        note_change(user, virtual, before)


def change(user: User, member: VirtualMember, **columns: int | bool) -> None:
    """Set the weight of a member, or whether it is in use."""
    with transaction.atomic():
        before = describe_members(member.virtual_model)
        VirtualMember.objects.filter(pk=member.pk).update(**columns)
        note_change(user, member.virtual_model, before)


def move(user: User, member: VirtualMember, *, up: bool) -> None:
    """Exchange a member with the one before or after it."""
    virtual = member.virtual_model
    with transaction.atomic():
        rows = list(virtual.members.select_for_update())
        place = next(place for place, row in enumerate(rows) if row.pk == member.pk)
        other = place - 1 if up else place + 1
        if not 0 <= other < len(rows):
            return
        before = describe_members(virtual)
        rows[place], rows[other] = rows[other], rows[place]
        for position, row in enumerate(rows):
            row.position = position
        VirtualMember.objects.bulk_update(rows, ["position"])
        note_change(user, virtual, before)


def remove(user: User, member: VirtualMember) -> None:
    with transaction.atomic():
        before = describe_members(member.virtual_model)
        member.delete()
        note_change(user, member.virtual_model, before)


def note_change(user: User, virtual: VirtualModel, before: str) -> None:
    """Publish that the members may have changed, and write the change to the audit log."""
    replicas.publish("providers")
    after = describe_members(virtual)
    if after != before:
        audit.note(user, "changed", virtual, {"members": [before[:200], after[:200]]})
