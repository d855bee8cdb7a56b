"""The roster of providers: their order, pauses, copies, removal and the way back.

Each is one short transaction or statement, told to every process once it is committed.
"""

from itertools import count

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from providers.infra import replicas
from providers.models import LanguageModel, Provider

RESERVED = frozenset({"new", "test", "fix"})  # pages of their own below /providers/
LONGEST_NAME = 100  # as the column has it


def save_new(provider: Provider) -> None:
    """Under the first free slug of its name; where another took it a moment ago, the next."""
    base = slugify(provider.name)[:40] or "provider"
    for number in count(1):
        slug = base if number == 1 else f"{base}-{number}"
        if slug in RESERVED or Provider.with_removed.filter(slug=slug).exists():
            continue
        provider.slug = slug
        try:
            with transaction.atomic():
                provider.save(force_insert=True)
        except IntegrityError:
            continue
        return


def move(provider: Provider, *, up: bool) -> None:
    """One place up or down; writes those alone whose place changes."""
    ids = list(Provider.objects.in_order().values_list("pk", flat=True))
    place = ids.index(provider.pk)
    other = place - 1 if up else place + 1
    if not 0 <= other < len(ids):
        return
    ids[place], ids[other] = ids[other], ids[place]
    places = {pk: number for number, pk in enumerate(ids, start=1)}
    with transaction.atomic():
        # Locked in the order of attempt_writer.write_results.
        rows = Provider.objects.order_by("pk").select_for_update(no_key=True)
        moved = [row for row in rows.only("pk", "position") if row.position != places.get(row.pk)]
        for row in moved:
            row.position = places.get(row.pk)
        Provider.objects.bulk_update(moved, ["position"], batch_size=500)
    provider.position = places[provider.pk]


def pause(provider: Provider) -> None:
    """It is neither asked nor checked until it is resumed."""
    _change(provider, enabled=False)


def resume(provider: Provider) -> None:
    """It is checked at once."""
    _change(provider, enabled=True, next_check_at=timezone.now())


def remove(provider: Provider) -> None:
    """Marks it: it is gone everywhere, and can be brought back until it is deleted for good."""
    _change(provider, removed_at=timezone.now())


def restore(provider: Provider) -> None:
    """As it was, and checked at once."""
    _change(provider, removed_at=None, next_check_at=timezone.now())


def _change(provider: Provider, **values: object) -> None:
    Provider.with_removed.filter(pk=provider.pk).update(**values)
    for name, value in values.items():
        setattr(provider, name, value)
    replicas.publish("providers")
    replicas.publish("routes")


# What is known of the original alone: its health and the checks that showed it.
_OWN = {
    "health_status": "unknown",
    "health_reason": "",
    "last_health_check": None,
    "consecutive_failures": 0,
    "switched_at": None,
    "flaps": 0,
    "position": None,
}


def copy(original: Provider, user: User) -> Provider:
    """Another one with the same settings, secrets and models, paused: two that serve the same
    models would make their plain names ambiguous. Aliases stay with the original."""
    made = Provider.objects.get(pk=original.pk)
    made.pk, made.created_by, made.enabled = None, user, False
    made._state.adding = True
    made.name = _copied_name(original.name)
    for name, value in _OWN.items():
        setattr(made, name, value)
    with transaction.atomic():
        save_new(made)
        made.alternatives.set(original.alternatives.all())
        made.ensure_routes()
        models = list(original.language_models.all())
        for model in models:
            model.pk, model.provider, model.alias = None, made, ""
        LanguageModel.objects.bulk_create(models, batch_size=500)
    return made


def _copied_name(name: str) -> str:
    """`Acme copy`, then `Acme copy 2`."""
    base = f"{name[: LONGEST_NAME - 10]} copy"
    taken = set(Provider.objects.filter(name__startswith=base).values_list("name", flat=True))
    numbered = (base if number == 1 else f"{base} {number}" for number in count(1))
    return next(each for each in numbered if each not in taken)
