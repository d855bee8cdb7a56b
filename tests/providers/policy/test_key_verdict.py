"""Which refusals mean that a key is not accepted."""

from datetime import UTC, datetime, timedelta

import pytest

from providers.domain.errors import MODERATED, CallError, ErrorKind
from providers.policy.key_verdict import is_key_refused, may_be_refused_key

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(seconds=1)
AUTH, PERMISSION = ErrorKind.AUTH, ErrorKind.PERMISSION


@pytest.mark.parametrize(
    ("chat", "listing", "success_at", "expected"),
    [
        (AUTH, None, None, False),
        (AUTH, AUTH, None, True),
        (AUTH, AUTH, EARLIER, True),
        (AUTH, AUTH, LATER, False),
        (AUTH, PERMISSION, None, True),
        (AUTH, PERMISSION, EARLIER, False),
        (PERMISSION, None, None, False),
        (PERMISSION, PERMISSION, None, True),
        (PERMISSION, PERMISSION, EARLIER, False),
        (PERMISSION, AUTH, None, True),
        (PERMISSION, AUTH, EARLIER, False),
        (AUTH, ErrorKind.NETWORK, None, False),
        (AUTH, ErrorKind.REQUEST, None, False),
    ],
)
def test_a_key_is_refused_only_where_everything_is(
    chat: ErrorKind, listing: ErrorKind | None, success_at: datetime | None, expected: bool
) -> None:
    """A 401 for both, or nothing that ever went well."""
    assert is_key_refused(chat, listing, NOW, success_at) is expected


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [(AUTH, "", True), (PERMISSION, "", True), (PERMISSION, MODERATED, False)]
    + [(kind, "", False) for kind in ErrorKind if kind not in (AUTH, PERMISSION)],
)
def test_a_key_is_checked_after_a_refusal(kind: ErrorKind, code: str, expected: bool) -> None:
    """Not after a prompt that moderation refused."""
    assert may_be_refused_key(CallError(kind, "x", code=code)) is expected
