"""What a test is of, and what it tells stage by stage: from the shape of the address to the tokens
of an answer."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from django.utils import timezone

from providers.clients.recorder import Exchange
from providers.connection_test.test_chat import Answer
from providers.domain import base_url
from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import Method, Target
from providers.models import connection as connections
from providers.probes import gateways, probe
from providers.router.snapshot import Candidate
from providers.vendors import presets

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
class Draft:
    """A provider's form as it stands, saved or not. `stored` is its candidate where the form is
    unchanged, so that the test's results count for its routes; `changes` say what was tidied in
    its addresses."""

    connection: connections.Connection
    model_id: str = ""
    stored: Candidate | None = None
    changes: tuple[str, ...] = ()

    def target(self, method: Method, model_id: str = "") -> Target:
        """A test's target: patient to the first token, and not for long after it."""
        target = connections.target(self.connection, method, model_id)
        times = target.timeouts
        total = min(times.total, times.first_token + probe.PROBE_SECONDS)
        return replace(target, timeouts=replace(times, total=total))

    @property
    def problem(self) -> str:
        """What is wrong with the shape of its addresses: with that, nobody is called."""
        typed = (self.connection.base_url, self.connection.gateway_endpoint)
        problems = (base_url.tidy(url).problem for url in typed[: 2 if typed[1] else 1])
        return next(filter(None, problems), "")

    @property
    def at_once(self) -> int:
        """How many chats with this key may be under way at the same time."""
        return presets.get(self.connection.preset).concurrency or len(Method)


@frozen
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


class Walked:
    """What walks through stages: it tells each as it begins and as it ends, and of those that are
    left out, why.

    Afterwards `error` is what it amounts to and `answer` the chat's, if there was one; without
    either nothing was shown; `model_id` is the model that it says something about, if it is one.
    `began_at`, `began` (monotonic) and `ms` are of its last call.
    """

    def __init__(
        self, draft: Draft, method: Method, say: Callable[[Stage], None], names: Iterable[StageName]
    ) -> None:
        self.draft = draft
        self.method = method
        self.ms = 0
        self.model_id = ""
        self.error: CallError | None = None
        self.answer: Answer | None = None
        self._say = say
        self._open = list(names)
        self._begins()

    def _begins(self) -> None:
        self.began_at, self.began = timezone.now(), time.monotonic()

    def _tell(
        self,
        name: StageName,
        state: StageState,
        detail: str = "",
        ms: int | None = None,
        error: CallError | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self._put(
            Stage(
                method=self.method,
                name=name,
                state=state,
                detail=detail,
                ms=ms,
                error=error,
                exchange=exchange,
            )
        )

    def _put(self, stage: Stage) -> None:
        if stage.state != "running" and stage.name in self._open:
            self._open.remove(stage.name)
        self._say(stage)

    async def _wait_for_process(self, name: StageName, target: Target) -> None:
        """Says so while the program's own gateway process is still starting."""
        if target.upstream:
            self._tell(name, "running", "Waiting until the gateway process is ready")
            await gateways.wait_for_process()

    def _skip_rest(self, why: str) -> None:
        for name in tuple(self._open):
            self._tell(name, "skipped", why)


def remark(words: str, code: str) -> CallError:
    """What is to be said of a stage that went well enough."""
    return CallError(ErrorKind.PROVIDER, words, code=code)


def told_by(answer: Answer, method: Method, model_id: str) -> list[Stage]:
    """What an answer shows: that there is one, whether it was streamed, what it used."""
    return [_chat(answer, method, model_id), _streaming(answer, method), _usage(answer, method)]


def _chat(answer: Answer, method: Method, model_id: str) -> Stage:
    aloud = remark("The answer begins with <think>.", "thinks_aloud")
    return Stage(
        method=method,
        name="chat",
        state="warn" if answer.thinks_aloud else "ok",
        detail=f"{model_id}: first token" if answer.pieces else f"{model_id} said no word yet",
        ms=answer.ttft_ms or answer.ms,
        error=aloud if answer.thinks_aloud else None,
        exchange=answer.exchange,
    )


def _streaming(answer: Answer, method: Method) -> Stage:
    stage = Stage(method=method, name="streaming", state="ok", ms=answer.ms)
    if answer.error:
        return replace(stage, state="failed", detail=answer.error.message, error=answer.error)
    if answer.streamed:
        pieces = f"{answer.pieces} piece{'' if answer.pieces == 1 else 's'}"
        return replace(stage, detail=pieces)
    whole = remark("The answer came in one piece.", "not_streamed")
    return replace(stage, state="warn", detail="A stream was asked for", error=whole)


def _usage(answer: Answer, method: Method) -> Stage:
    stage = Stage(method=method, name="usage", state="ok")
    if used := answer.usage:
        return replace(stage, detail=f"{used.input_tokens} in, {used.output_tokens} out")
    if answer.error or answer.left:
        return replace(stage, state="skipped", detail="The end was not seen.")
    silent = remark("The answer tells no tokens.", "no_usage")
    return replace(stage, state="warn", detail="Not told: it will be estimated", error=silent)
