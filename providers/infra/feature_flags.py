"""Feature flags: one typed registry of what an instance may switch, and their values. No I/O.

The environment wins, so that its deployment can pin a flag; then the value that
operators set; then the default. A process uses the operators' values as of its last snapshot.
"""

from collections.abc import Mapping
from typing import Literal

from django.conf import settings

from providers.domain.frozen import frozen

type Source = Literal["environment", "panel", "default"]


@frozen
class Flag:
    """One switch. `phase` is the step of docs/migration.md that it belongs to, 0 for none."""

    name: str
    title: str
    description: str
    default: bool
    phase: int = 0

    @property
    def variable(self) -> str:
        return self.name.upper()


FLAGS: Mapping[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag(
            name="gateway_sdk",
            title="Gateway process",
            description="A LiteLLM process beside this one is a second route to each provider, and"
            " the only route to APIs that are not supported directly. Off: only LiteLLM"
            " proxies are gateways.",
            default=True,
            phase=2,
        ),
        Flag(
            name="smart_routing",
            title="Smart routing for new providers",
            description="New providers use automatic routing: it remembers which route works and"
            " falls back to the other. Off: new providers are legacy, direct only, until an"
            " operator opts them in.",
            default=True,
            phase=3,
        ),
        Flag(
            name="emergency_answers",
            title="Emergency answers",
            description="When every route has failed, a caller gets its own earlier answer to the"
            " identical request, marked with its age. Answers are kept encrypted for a day.",
            default=False,
        ),
        Flag(
            name="store_responses",
            title="Stored responses",
            description="Answers of /v1/responses are stored, encrypted, so that a later request"
            " can continue them or read them again. Off: nothing is stored, and clients send the"
            " conversation each time.",
            default=True,
        ),
        Flag(
            name="chat_probes",
            title="Chat probes",
            description="Health checks may send one short chat to providers that allow it, within"
            " their daily budget. Off: health checks only list models.",
            default=True,
        ),
    )
}

_stored: Mapping[str, bool] = {}


def set_stored(stored: Mapping[str, bool]) -> None:
    """Set the operators' values; each process does so when it reads its snapshot.

    The mapping is replaced, not changed: a thread sets it while the event loop reads it.
    """
    global _stored
    _stored = dict(stored)


def is_enabled(name: str) -> bool:
    """Whether a flag is switched on. Raises KeyError for one that is not in the registry."""
    return state(name)[0]


def state(name: str) -> tuple[bool, Source]:
    """Whether a flag is switched on, and which source decides it."""
    flag = FLAGS[name]
    pinned: bool | None = getattr(settings, flag.variable)
    if pinned is not None:
        return pinned, "environment"
    stored = _stored.get(name)
    return (flag.default, "default") if stored is None else (stored, "panel")
