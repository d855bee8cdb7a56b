"""The trace that is replayed against both sides: which fault each upstream has, and when.

Times are in seconds of the trace; a run may be faster than that, all times alike.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A span of the trace. `preferred` and `other` are what ails the two upstreams."""

    name: str
    seconds: float
    preferred: str = "good"
    other: str = "good"


FLAP_SECONDS = 4.0  # up, then down, for so long each
SLOW_SECONDS = 15.0  # to the first token
RETRY_AFTER = 10  # of a 429
FIRST_TOKEN_SECONDS = 10.0  # either side waits so long for it where there is another upstream
ANSWER_SECONDS = 0.3  # of a good answer, half of it before the first token
ERROR_SHARE = 5  # one in so many fails

PHASES = (
    Phase(name="healthy", seconds=15),
    Phase(name="outage", seconds=19, preferred="down"),
    Phase(name="", seconds=41),
    Phase(name="4 s flaps", seconds=24, preferred="flaps"),
    Phase(name="", seconds=66),
    Phase(name="15 s first token", seconds=25, preferred="slow"),
    Phase(name="", seconds=125),
    Phase(name="429, Retry-After", seconds=12, preferred="limited"),
    Phase(name="", seconds=28),
    Phase(name="wrong key", seconds=10, preferred="key"),
    Phase(name="", seconds=30),
    Phase(name="both down", seconds=5, preferred="down", other="down"),
    Phase(name="", seconds=30),
    Phase(name="20 % of 500s", seconds=30, preferred="errors"),
    Phase(name="", seconds=10),
)
LENGTH = sum(phase.seconds for phase in PHASES)


def spans() -> Iterator[tuple[float, float, Phase]]:
    """Each phase with its beginning and its end."""
    began = 0.0
    for phase in PHASES:
        yield began, began + phase.seconds, phase
        began += phase.seconds


def fault(at: float, upstream: str) -> str:
    """What ails that upstream at a time of the trace."""
    for began, ended, phase in spans():
        if began <= at < ended:
            kind = phase.preferred if upstream == "preferred" else phase.other
            if kind == "flaps":
                return "good" if (at - began) // FLAP_SECONDS % 2 else "down"
            return kind
    return "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request: when it came and how long it took in seconds of the trace, and who answered;
    `upstream` is empty where nobody did."""

    at: float
    seconds: float
    upstream: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """All that one side did."""

    name: str
    outcomes: Sequence[Outcome]
    calls: int  # that reached an upstream

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Replay":
        fields = json.loads(text)
        return cls(**fields | {"outcomes": [Outcome(**each) for each in fields["outcomes"]]})

    def count_failed(self, began: float = 0.0, ended: float = LENGTH) -> int:
        """Requests of that span that got no answer."""
        return sum(not o.upstream for o in self.outcomes if began <= o.at < ended)

    def percentile(self, share: float, began: float = 0.0, ended: float = LENGTH) -> float:
        """Seconds within which that share of the span's answers was complete."""
        taken = sorted(o.seconds for o in self.outcomes if o.upstream and began <= o.at < ended)
        return taken[max(0, ceil(share * len(taken)) - 1)] if taken else 0.0

    def back_after(self, healed: float, next_fault: float) -> float | None:
        """Seconds from healing to the first of ten requests in a row that the preferred upstream
        answered; None where that did not happen before the next fault."""
        row: list[Outcome] = []
        for outcome in sorted(self.outcomes, key=lambda o: o.at):
            if not healed <= outcome.at < next_fault:
                continue
            row = [*row, outcome] if outcome.upstream == "preferred" else []
            if len(row) == 10:
                return row[0].at - healed
        return None
