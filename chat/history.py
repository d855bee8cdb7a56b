"""List a user's conversations page by page and search them, newest first.

A page begins after the key of the last conversation shown, not after a number of rows: a
conversation that moves to the top meanwhile shifts nothing.
"""

import re
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Q

from chat.models import Conversation, ConversationQuerySet
from providers.domain.frozen import frozen

PAGE = 50  # conversations
MAX_RESULTS = 20  # results of a search
MAX_LISTED = 500  # conversations that one refresh of a long list returns
MAX_WORDS = 8  # words of a search that count
_KEY = re.compile(r"(\d{1,17})-(\d{1,18})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class ConversationPage:
    """`last` is the key of the last one listed; `more`: older ones follow."""

    conversations: tuple[Conversation, ...]
    last: str
    more: bool


def first_page(user: User, through: str = "") -> ConversationPage:
    """The newest conversations: one page, or all down to the key `through`, at most MAX_LISTED."""
    listed = _newest(user)
    if place := _place(through):
        older = _before(*place)
        return _page(listed.exclude(older), MAX_LISTED, followed=listed.filter(older).exists())
    return _page(listed, PAGE)


def page_before(user: User, key: str) -> ConversationPage:
    """The page after the conversation with this key; the first one where it is no key."""
    place = _place(key)
    listed = _newest(user)
    return _page(listed.filter(_before(*place)) if place else listed, PAGE)


def find(user: User, text: str) -> list[Conversation]:
    """Conversations whose title holds every word; without a word, the newest."""
    conversations = _newest(user)
    for word in text.replace("\0", "").split()[:MAX_WORDS]:
        conversations = conversations.filter(title__icontains=word)
    return list(conversations[:MAX_RESULTS])


def _newest(user: User) -> ConversationQuerySet:
    return Conversation.objects.of(user).with_running().order_by("-updated_at", "-pk")


def _page(listed: ConversationQuerySet, size: int, *, followed: bool = False) -> ConversationPage:
    rows = list(listed[: size + 1])
    shown = rows[:size]
    more = followed or len(rows) > size
    return ConversationPage(
        conversations=tuple(shown), last=_key(shown[-1]) if shown else "", more=more
    )


def _key(conversation: Conversation) -> str:
    """The place as text for an address: microseconds since 1970, and the row's number."""
    since = (conversation.updated_at - _EPOCH) // timedelta(microseconds=1)
    return f"{since}-{conversation.pk}"


def _place(key: str) -> tuple[datetime, int] | None:
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(match[1])), int(match[2])
    except OverflowError:
        return None


def _before(moment: datetime, pk: int) -> Q:
    return Q(updated_at__lt=moment) | Q(updated_at=moment, pk__lt=pk)
