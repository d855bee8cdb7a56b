"""Which member a conversation stays with: for how long, for how many, in every process."""

import time

from providers.router import affinity
from providers.router.affinity import KEEP_SECONDS, Affinity, conversation_key
from providers.router.affinity_feed import AffinityFeed
from tests.polling import until


def test_a_conversation_is_forgotten_after_an_hour() -> None:
    """Counted from its last answer."""
    now = [0.0]
    known = Affinity(lambda: now[0])
    known.note("c", (1, "m"))
    now[0] = KEEP_SECONDS - 1
    assert known.find("c") == (1, "m")
    known.note("c", (2, "m"))
    now[0] += KEEP_SECONDS - 1
    assert known.find("c") == (2, "m")
    now[0] += 1
    assert known.find("c") is None


def test_the_longest_unused_is_dropped_first() -> None:
    """However many there are, the memory is bounded."""
    known = Affinity(lambda: 0.0)
    for number in range(affinity.MAX_CONVERSATIONS):
        known.note(str(number), (1, "m"))
    known.note("0", (1, "m"))
    known.note("one more", (1, "m"))
    assert len(known) == affinity.MAX_CONVERSATIONS
    assert (known.find("0"), known.find("1")) == ((1, "m"), None)


def test_callers_do_not_share_the_names_of_their_conversations() -> None:
    """Nor do virtual models; the same parts give the same key in every process."""
    keys = {
        conversation_key(virtual, caller, session)
        for virtual in (1, 2)
        for caller in ("key:1", "user:1")
        for session in ("a", "b")
    }
    assert len(keys) == 8
    assert conversation_key(1, "key:1", "a") in keys


async def test_other_processes_hear_of_an_answer() -> None:
    """Through Redis; what the answering process knows it knows at once."""
    ours, theirs = Affinity(time.monotonic), Affinity(time.monotonic)
    feeds = [AffinityFeed(ours), AffinityFeed(theirs)]
    for feed in feeds:
        feed.start()

    def is_heard() -> bool:
        """Note it again: a listener hears nothing before it has subscribed."""
        feeds[0].note("c", (1, "m"))
        return theirs.find("c") is not None

    try:
        feeds[0].note("c", (1, "m"))
        assert ours.find("c") == (1, "m")
        await until(is_heard)
        assert theirs.find("c") == (1, "m")
        feeds[1].note("c", (2, "m"))
        await until(lambda: ours.find("c") == (2, "m"))
    finally:
        for feed in feeds:
            await feed.close()
