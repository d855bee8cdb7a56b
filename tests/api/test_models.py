"""Client keys as rows: what is stored, and which of them work."""

import hashlib
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from api.models import SHOWN, USE_EVERY, ClientKey, hash_secret


def test_the_secret_is_not_stored(owner: User) -> None:
    """Only its hash, and how it begins."""
    key, secret = ClientKey.make(owner, "laptop")
    key.refresh_from_db()
    assert secret.startswith("ocw-")
    assert key.hash == hashlib.sha256(secret.encode()).hexdigest() == hash_secret(secret)
    assert key.prefix == secret[:SHOWN]
    stored = " ".join(str(value) for value in ClientKey.objects.values().get().values())
    assert secret not in stored


def test_a_secret_holds_256_random_bits(owner: User) -> None:
    """That is why a plain hash is enough; no two are alike."""
    secrets = {ClientKey.make(owner, "k")[1] for _ in range(5)}
    assert len(secrets) == 5
    assert all(len(secret) == len("ocw-") + 43 for secret in secrets)


def test_usable_keys_are_neither_revoked_nor_expired_nor_of_people_who_left(owner: User) -> None:
    """Each of the three takes a key out of use by itself."""
    now = timezone.now()
    good, _ = ClientKey.make(owner, "good", now + timedelta(hours=1))
    ClientKey.make(owner, "expired", now - timedelta(seconds=1))
    revoked, _ = ClientKey.make(owner, "revoked")
    assert ClientKey.objects.filter(pk=revoked.pk).revoke(now) == 1
    gone = User.objects.create_user("gone", is_active=False)
    ClientKey.make(gone, "left")
    assert list(ClientKey.objects.usable(now)) == [good]


def test_a_key_is_revoked_once(owner: User) -> None:
    """The moment stays that of the first time."""
    key, _ = ClientKey.make(owner, "laptop")
    first = timezone.now()
    ClientKey.objects.all().revoke(first)
    assert ClientKey.objects.all().revoke(first + timedelta(hours=1)) == 0
    key.refresh_from_db()
    assert key.revoked_at == first


def test_records_use_once_in_a_few_seconds(owner: User) -> None:
    """However many processes saw it."""
    key, _ = ClientKey.make(owner, "laptop")
    now = timezone.now()
    assert ClientKey.objects.mark_used([key.pk], now) == 1
    assert ClientKey.objects.mark_used([key.pk], now + USE_EVERY / 2) == 0
    assert ClientKey.objects.mark_used([key.pk], now + USE_EVERY) == 1
