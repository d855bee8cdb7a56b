"""Stages of a test, and the reporter that emits them.

A test reports each stage when it starts and when it ends; a skipped stage has a reason. Tests
are handed a StageReporter instead of inheriting from a base class: what they do reads from top to
bottom in one module, what they return is a value, and where stages go is for the runner to decide.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any, Literal

from providers.clients.recorder import Exchange
from providers.domain.errors import CallError, ErrorKind, deserialize, serialize
from providers.domain.frozen import frozen
from providers.domain.types import Method

type StageName = Literal[
    "address",
    "dns",
    "tcp",
    "tls",
    "auth",
    "models",
    "chat",
    "streaming",
    "usage",
    "max_tokens",
    "temperature",
    "tools",
    "response_format",
    "reasoning_effort",
    "limits",
]
type StageState = Literal["running", "ok", "warn", "failed", "skipped"]

STAGES: tuple[StageName, ...] = (
    *("address", "dns", "tcp", "tls"),
    *("auth", "models", "chat", "streaming", "usage"),
)
PARAMETERS: tuple[StageName, ...] = ("temperature", "tools", "response_format", "reasoning_effort")
MODEL_STAGES: tuple[StageName, ...] = (
    *("chat", "streaming", "usage", "limits", "max_tokens"),
    *PARAMETERS,
)


@frozen
class Stage:
    """One line of the checklist. `ms` and `detail` are set once it is over; `error` is why it
    failed, or a remark on a stage that ended as `warn`."""

    method: Method
    name: StageName
    state: StageState
    detail: str = ""
    ms: int | None = None
    error: CallError | None = None
    exchange: Exchange | None = None

    def to_json(self) -> bytes:
        error = serialize(self.error) if self.error else None
        return json.dumps(asdict(replace(self, error=None)) | {"error": error}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Stage":
        fields: dict[str, Any] = json.loads(text)
        fields["method"] = Method(fields["method"])
        if fields["error"]:
            fields["error"] = deserialize(fields["error"], CallError)
        if fields["exchange"]:
            fields["exchange"] = Exchange.restore(fields["exchange"])
        return cls(**fields)


type Emit = Callable[[Stage], None]


class StageReporter:
    """Emit the stages of one method, and keep the list of those that have not ended."""

    def __init__(self, method: Method, names: Iterable[StageName], emit: Emit) -> None:
        self._method = method
        self._open = list(names)
        self._emit = emit

    def is_open(self, name: StageName) -> bool:
        return name in self._open

    def start(self, name: StageName, detail: str = "") -> None:
        self._emit(Stage(method=self._method, name=name, state="running", detail=detail))

    def succeed(
        self,
        name: StageName,
        detail: str,
        ms: int | None = None,
        *,
        exchange: Exchange | None = None,
        remark: CallError | None = None,
    ) -> None:
        """End a stage well; with a remark, as a warning."""
        self.end(name, "warn" if remark else "ok", detail, ms, remark, exchange)

    def fail(
        self,
        name: StageName,
        error: CallError,
        ms: int | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.end(name, "failed", error.message, ms, error, exchange)

    def skip(self, name: StageName, reason: str) -> None:
        self.end(name, "skipped", reason)

    def skip_open(self, reason: str) -> None:
        """Skip every stage that has not ended."""
        for name in tuple(self._open):
            self.skip(name, reason)

    def end(
        self,
        name: StageName,
        state: StageState,
        detail: str,
        ms: int | None = None,
        error: CallError | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        if name in self._open:
            self._open.remove(name)
        self._emit(
            Stage(
                method=self._method,
                name=name,
                state=state,
                detail=detail,
                ms=ms,
                error=error,
                exchange=exchange,
            )
        )


def remark(text: str, code: str) -> CallError:
    """A finding on a stage that succeeded."""
    return CallError(ErrorKind.PROVIDER, text, code=code)
