"""One route of a test: each stage is told as it begins and as it ends; what is left out says why.

What is asked is asked as real traffic asks it; the steps of a connection are made once by hand, to
be told apart.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from aiohappyeyeballs import AddrInfoType

from providers.clients import connect, gateway
from providers.clients.recorder import Exchange, Recorder
from providers.connection_test import test_chat
from providers.connection_test.stages import (
    STAGES,
    Draft,
    Stage,
    StageName,
    StageState,
    Walked,
    remark,
    told_by,
)
from providers.connection_test.test_chat import Answer
from providers.domain import base_url
from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.redaction import secrets_of
from providers.domain.types import FoundModel, Method
from providers.probes import probe, probe_plan
from providers.protocols import model_list

# What shows that a server knows the key: it counts, or bills, what was asked with it.
_KNOWS_THE_KEY = frozenset({ErrorKind.QUOTA, ErrorKind.RATE_LIMIT})
# What a chat would meet just the same.
_NOT_THERE = frozenset({ErrorKind.NETWORK, ErrorKind.TIMEOUT})


@frozen
class _Listing:
    """What `GET /models` gave."""

    found: list[FoundModel]
    error: CallError | None
    exchange: Exchange | None
    ms: int

    @property
    def refused(self) -> bool:
        """Whether the key was: some keys may not list models and chat all the same."""
        return bool(self.error and _is_refusal(self.error))


class Road(Walked):
    """One route's way through the stages."""

    def __init__(
        self, draft: Draft, method: Method, say: Callable[[Stage], None], chats: asyncio.Semaphore
    ) -> None:
        super().__init__(draft, method, say, STAGES)
        self._chats = chats
        self._target = draft.target(method)

    async def walk(self) -> None:
        """All stages, as far as they can be had."""
        if not self._address():
            return self._skip_rest("Fix the address first.")
        await self._wait_for_process("dns", self._target)
        self._begins()
        if not await self._reach():
            return self._skip_rest("The server could not be reached.")
        listed = await self._list()
        if listed.error and listed.error.kind in _NOT_THERE:
            self._fail("models", listed.error, listed.ms, listed.exchange)
            return self._skip_rest("The server did not answer.")
        model_id = self.draft.model_id or chat_model([model.model_id for model in listed.found])
        if model_id:
            await self._chat(model_id, listed)
        else:
            self._without_chat(listed)
        return self._skip_rest("No answer came.")

    def _address(self) -> bool:
        reached = self.draft.connection
        own = reached.base_url if self.method == Method.DIRECT else reached.gateway_endpoint
        if own and (problem := base_url.tidy(own).problem):
            error = CallError(ErrorKind.REQUEST, problem, code="invalid_address", sent=False)
            self._tell("address", "failed", problem, error=error)
            return False
        if self.draft.problem:
            return False
        if self._target.upstream:
            self._tell("address", "ok", "This site's own gateway process")
        else:
            self._tell("address", "ok", " ".join((self._target.base_url, *self.draft.changes)))
        return True

    async def _reach(self) -> bool:
        """Name, connection, TLS: what a call does first."""
        name: StageName = "dns"
        try:
            with gateway.sorted_errors(self._target) if self._through else nullcontext():
                found = await self._resolve()
                name = "tcp"
                connection = await self._connect(found)
                name = "tls"
                await self._secure(connection)
        except CallError as error:
            self._fail(name, error, probe.ms_since(self.began))
            return False
        return True

    @property
    def _through(self) -> bool:
        return self.method == Method.GATEWAY

    async def _resolve(self) -> list[AddrInfoType]:
        url, seconds = self._target.base_url, self._target.timeouts.connect
        self._tell("dns", "running")
        found = await connect.resolved(url, seconds)
        if base_url.literal(base_url.name(url)):
            self._tell("dns", "skipped", "The address is a number: there is no name to look up.")
        else:
            hosts = [str(where[0]) for *_, where in found]
            shown = ", ".join(hosts[:3]) + (", …" if len(hosts) > 3 else "")
            self._tell("dns", "ok", shown, ms=probe.ms_since(self.began))
        return found

    async def _connect(self, found: list[AddrInfoType]) -> socket.socket:
        began = time.monotonic()
        self._tell("tcp", "running")
        connection = await connect.connected(
            self._target.base_url, found, self._target.timeouts.connect
        )
        peer = connection.getpeername()
        self._tell("tcp", "ok", f"{peer[0]}, port {peer[1]}", ms=probe.ms_since(began))
        return connection

    async def _secure(self, connection: socket.socket) -> None:
        url, began = self._target.base_url, time.monotonic()
        if not url.startswith("https:"):
            connection.close()
            near = base_url.is_private(url)
            why = "the server is near." if near else "whoever is on the way can read the key."
            return self._tell("tls", "skipped", f"The address is plain http: {why}")
        self._tell("tls", "running")
        agreed = await connect.secured(url, connection, self._target.timeouts.connect)
        return self._tell("tls", "ok", agreed, ms=probe.ms_since(began))

    async def _list(self) -> _Listing:
        self._tell("auth", "running")
        self._tell("models", "running")
        self._begins()
        with Recorder(secrets_of(self._target)).listening() as recorder:
            found, error = await probe.catalogue(self._target)
        ms = probe.ms_since(self.began)
        listed = _Listing(found=found, error=error, exchange=recorder.exchange, ms=ms)
        if not error:
            self._listed(listed)
        elif not listed.refused and error.kind not in _NOT_THERE:
            self._fail("models", error, ms, recorder.exchange)
        return listed

    def _listed(self, listed: _Listing) -> None:
        count = len(listed.found)
        detail = f"{count} model{'' if count == 1 else 's'}"
        if listed.exchange and (shape := model_list.shape(listed.exchange.received)):
            detail += f", listed as {shape}"
        ending: StageState = "ok" if count else "warn"
        error = None if count else remark("The list of models is empty.", "empty_list")
        self._tell("models", ending, detail, listed.ms, error, listed.exchange)

    def _without_chat(self, listed: _Listing) -> None:
        """Nothing is known to ask: the list alone tells of the key."""
        if listed.error and listed.refused:
            self._fail("auth", listed.error, listed.ms, listed.exchange)
            return self._skip_rest("The key was refused.")
        if listed.error:
            self.error, self.ms = listed.error, listed.ms
            self._tell("auth", "skipped", "The key could not be checked yet.")
        else:
            self.ms = listed.ms
            self._tell("auth", "ok", "The list of models came.")
        return self._skip_rest("No model is known to ask.")

    async def _chat(self, model_id: str, listed: _Listing) -> None:
        """The chat, which also has the last word about the key."""
        target = self.draft.target(self.method, model_id)
        self.model_id = model_id
        self._tell("chat", "running", model_id)
        async with self._chats:
            self._begins()
            answer = await test_chat.ask(target, on_first=self._first(model_id))
        self.answer, self.error, self.ms = answer, answer.error, answer.ms
        if answer.error and answer.ttft_ms is None:
            return self._no_answer(answer, answer.error, listed)
        self._accepted()
        if listed.error and listed.refused:
            self._fail("models", listed.error, listed.ms, listed.exchange)
            self.error = answer.error
        for stage in told_by(answer, self.method, model_id):
            self._put(stage)
        return None

    def _first(self, model_id: str) -> Callable[[Answer], None]:
        def first(answer: Answer) -> None:
            self._accepted()
            self._tell("chat", "ok", f"{model_id}: first token", ms=answer.ttft_ms)

        return first

    def _accepted(self) -> None:
        if "auth" in self._open:
            has_key = self._through or self.draft.connection.api_key
            self._tell("auth", "ok", "The key is accepted" if has_key else "No key is needed")

    def _no_answer(self, answer: Answer, error: CallError, listed: _Listing) -> None:
        if _is_refusal(error) and (error.kind != ErrorKind.PERMISSION or listed.refused):
            self._fail("auth", error, answer.ms, answer.exchange)
            if listed.refused:
                self.model_id = ""  # the list was refused as well: it is the key
            return self._skip_rest("The key was refused.")
        self._fail("chat", error, answer.ms, answer.exchange)
        if not listed.error or error.kind in _KNOWS_THE_KEY:
            self._accepted()
        else:
            self._tell("auth", "skipped", "The key could not be checked yet.")
        if listed.error and listed.refused:
            self._fail("models", listed.error, listed.ms, listed.exchange)
            self.error = error
        return None

    def _fail(
        self, name: StageName, error: CallError, ms: int, exchange: Exchange | None = None
    ) -> None:
        self.error, self.ms = error, ms
        self._tell(name, "failed", error.message, ms, error, exchange)


def chat_model(ids: Sequence[str]) -> str:
    """The first model that looks as if it chats, else the first; empty where there is none."""
    return next(iter([each for each in ids if probe_plan.chats(each)] or ids), "")


def _is_refusal(error: CallError) -> bool:
    """Whether it was the key, the provider's or the gateway's own, that was not taken."""
    refused = error.kind == ErrorKind.GATEWAY and error.status in (400, 401, 403)
    return error.kind in (ErrorKind.AUTH, ErrorKind.PERMISSION) or refused
