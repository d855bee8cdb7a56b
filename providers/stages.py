"""What a test is of, and what it tells stage by stage: from the shape of the address to the tokens
of an answer."""

from dataclasses import dataclass, replace
from typing import Literal

from providers import addresses, presets, probing, targets
from providers.errors import CallError
from providers.snapshot import Candidate
from providers.transcript import Exchange
from providers.types import Method, Target

type StageName = Literal[
    "address", "dns", "tcp", "tls", "auth", "models", "chat", "streaming", "usage"
]
type StageState = Literal["running", "ok", "warn", "failed", "skipped"]

STAGES: tuple[StageName, ...] = (
    *("address", "dns", "tcp", "tls"),
    *("auth", "models", "chat", "streaming", "usage"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A provider's form as it stands, saved or not. `stored` is its candidate where the form is
    unchanged, so that the test's results count for its routes; `changes` say what was tidied in
    its addresses."""

    connection: targets.Connection
    model_id: str = ""
    stored: Candidate | None = None
    changes: tuple[str, ...] = ()

    def target(self, method: Method, model_id: str = "") -> Target:
        """A test's target: patient to the first token, and not for long after it."""
        target = targets.target(self.connection, method, model_id)
        times = target.timeouts
        total = min(times.total, times.first_token + probing.PROBE_SECONDS)
        return replace(target, timeouts=replace(times, total=total))

    @property
    def problem(self) -> str:
        """What is wrong with the shape of its addresses: with that, nobody is called."""
        typed = (self.connection.base_url, self.connection.gateway_endpoint)
        problems = (addresses.tidy(url).problem for url in typed[: 2 if typed[1] else 1])
        return next(filter(None, problems), "")

    @property
    def at_once(self) -> int:
        """How many chats with this key may be under way at the same time."""
        return presets.get(self.connection.preset).concurrency or len(Method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One line of the checklist. `ms` and `detail` are set once it is over; `error` is why it
    failed or, beside a better end, what is to be said of it."""

    method: Method
    name: StageName
    state: StageState
    detail: str = ""
    ms: int | None = None
    error: CallError | None = None
    exchange: Exchange | None = None
