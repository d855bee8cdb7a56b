"""Remember which member of a virtual model answered each conversation last.

A provider keeps the start of a conversation in its cache, so the second turn is cheaper where the
first one went. Each entry lives for as long as such caches do at most. No I/O.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from providers.policy.model_names import ModelKey

KEEP_SECONDS = 3600.0  # the longest life of a provider's prompt cache: Anthropic's, one hour
MAX_CONVERSATIONS = 20_000  # of one process; the one that was longest unused is dropped first


def conversation_key(virtual_id: int, caller: str, session: str) -> str:
    """The name of a caller's conversation with a virtual model; it reveals none of the parts."""
    text = f"{virtual_id}\0{caller}\0{session}".encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


class Affinity:
    """The member of each conversation, for one event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._members: OrderedDict[str, tuple[ModelKey, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._members)

    def find(self, conversation: str) -> ModelKey | None:
        """The member that answered last, where that is not too long ago."""
        member, noted_at = self._members.get(conversation, (None, 0.0))
        return member if member and self._now() - noted_at < KEEP_SECONDS else None

    def note(self, conversation: str, member: ModelKey) -> None:
        """This member has answered the conversation now."""
        self._members[conversation] = (member, self._now())
        self._members.move_to_end(conversation)
        if len(self._members) > MAX_CONVERSATIONS:
            self._members.popitem(last=False)
