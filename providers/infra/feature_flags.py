"""Feature flags: one typed registry of what an instance may switch, and what holds. No I/O.

The environment wins, so that whoever runs the instance can pin a flag; then what operators set in
the panel; then the default. A process keeps the panel's values as its snapshot was read last.
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
    says: str
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
            title="Our own gateway process",
            says="LiteLLM in a process beside this one is a second route to each provider, and the"
            " only one to wire formats that are not spoken here. Off: only LiteLLM proxies are"
            " gateways.",
            default=True,
            phase=2,
        ),
        Flag(
            name="smart_routing",
            title="Smart routing for new providers",
            says="A new provider begins with automatic routing: it learns which route works and"
            " falls back. Off: it begins as legacy, direct only, until somebody opts it in.",
            default=True,
            phase=3,
        ),
        Flag(
            name="emergency_answers",
            title="Emergency answers",
            says="When every route has failed, the same caller gets an earlier answer to the"
            " identical question, marked with its age. Answers are kept encrypted for a day.",
            default=False,
        ),
        Flag(
            name="chat_probes",
            title="Chat probes",
            says="Checks may send one short chat to providers whose operator allows it, below the"
            " provider's cap a day. Off: checks only list models, whatever a provider allows.",
            default=True,
        ),
    )
}

_stored: Mapping[str, bool] = {}


def take(stored: Mapping[str, bool]) -> None:
    """What the panel says now; told to each process as it reads its snapshot.

    Replaced as a whole: it is read in a thread while calls on the loop ask what holds.
    """
    global _stored
    _stored = dict(stored)


def on(name: str) -> bool:
    """Whether a flag is switched on. Raises KeyError for one that is not in the registry."""
    return state(name)[0]


def state(name: str) -> tuple[bool, Source]:
    """The same, and who says so."""
    flag = FLAGS[name]
    pinned: bool | None = getattr(settings, flag.variable)
    if pinned is not None:
        return pinned, "environment"
    stored = _stored.get(name)
    return (flag.default, "default") if stored is None else (stored, "panel")
