"""The lifecycle of providers: create, order, pause, copy, remove, restore.

Each is one short transaction or statement, published to every process after its commit.
"""

from itertools import count

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from providers.infra import replicas
from providers.models import LanguageModel, Provider

RESERVED = frozenset({"new", "test", "fix"})  # paths of pages below /providers/
MAX_NAME_LENGTH = 100  # as the column has it


def save_new(provider: Provider) -> None:
    """Saves with the first free slug of its name; retries if another process takes it first."""
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
    """Moves one place up or down; writes only the rows whose position changes."""
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
    """Stops requests and checks until it is resumed."""
    _change(provider, enabled=False)


def resume(provider: Provider) -> None:
    """Resumes requests; the next check is due at once."""
    _change(provider, enabled=True, next_check_at=timezone.now())


def remove(provider: Provider) -> None:
    """Marks it as removed: hidden everywhere, and restorable until it is deleted for good."""
    _change(provider, removed_at=timezone.now())


def restore(provider: Provider) -> None:
    """Restore a removed provider unchanged; its next check is due at once."""
    _change(provider, removed_at=None, next_check_at=timezone.now())


def _change(provider: Provider, **values: object) -> None:
    Provider.with_removed.filter(pk=provider.pk).update(**values)
    for name, value in values.items():
        setattr(provider, name, value)
    replicas.publish("providers")
    replicas.publish("routes")


# State of the original that a copy does not inherit.
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
    """Copies settings, secrets and models. The copy is paused, because two providers with the same
    models would make plain model names ambiguous. Aliases stay with the original."""
    duplicate = Provider.objects.get(pk=original.pk)
    duplicate.pk, duplicate.created_by, duplicate.enabled = None, user, False
    duplicate._state.adding = True
    duplicate.name = _name_of_copy(original.name)
    for name, value in _OWN.items():
        setattr(duplicate, name, value)
    with transaction.atomic():
        save_new(duplicate)
        duplicate.alternatives.set(original.alternatives.all())
        duplicate.ensure_routes()
        models = list(original.language_models.all())
        for model in models:
            model.pk, model.provider, model.alias = None, duplicate, ""
        LanguageModel.objects.bulk_create(models, batch_size=500)
    return duplicate


def _name_of_copy(name: str) -> str:
    """`Acme copy`, then `Acme copy 2`."""
    base = f"{name[: MAX_NAME_LENGTH - 10]} copy"
    taken = set(Provider.objects.filter(name__startswith=base).values_list("name", flat=True))
    numbered = (base if number == 1 else f"{base} {number}" for number in count(1))
    return next(each for each in numbered if each not in taken)
