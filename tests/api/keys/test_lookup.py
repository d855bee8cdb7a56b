"""Who sent a request: the key's caller, and that of the secret before a rotation."""

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from api.keys.lookup import load_callers
from api.models import ClientKey, hash_secret

DAY = timedelta(days=1)


def test_a_rotated_key_is_known_by_both_secrets(owner: User) -> None:
    """The same key, with its limits; the old secret ends with the overlap."""
    key, old = ClientKey.make(owner, "laptop")
    ClientKey.objects.update(allowed_models=["acme/*"])
    key.refresh_from_db()
    now = timezone.now()
    new = key.rotate(now, DAY)
    callers = load_callers()
    before, after = callers[hash_secret(old)], callers[hash_secret(new)]
    assert before.key_id == after.key_id == key.pk
    assert before.expires_at == now + DAY
    assert after.expires_at is None
    assert before.allowed.patterns == after.allowed.patterns == ("acme/*",)


def test_an_overlap_does_not_outlast_the_key(owner: User) -> None:
    """A key that expires does so with both secrets."""
    now = timezone.now()
    key, old = ClientKey.make(owner, "laptop", now + DAY)
    key.rotate(now, 2 * DAY)
    assert load_callers()[hash_secret(old)].expires_at == now + DAY


def test_a_second_rotation_ends_the_first_secret(owner: User) -> None:
    """At most two secrets open a key."""
    key, first = ClientKey.make(owner, "laptop")
    second = key.rotate(timezone.now(), DAY)
    third = key.rotate(timezone.now(), DAY)
    assert set(load_callers()) == {hash_secret(second), hash_secret(third)}
    assert hash_secret(first) not in load_callers()
