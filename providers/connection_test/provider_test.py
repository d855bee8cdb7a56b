"""The test of a provider: each stage of a call, over both methods at the same time.

Requests are made as real traffic makes them, so that a test that succeeds means a working route.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from providers.clients.recorder import Exchange, Recorder
from providers.connection_test import test_chat
from providers.connection_test.connection_stages import check_connection, wait_for_gateway_process
from providers.connection_test.draft import Draft
from providers.connection_test.recording import MethodResult
from providers.connection_test.stages import STAGES, Emit, StageReporter, remark
from providers.connection_test.test_chat import ChatReply
from providers.domain import base_url
from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.redaction import secrets_of
from providers.domain.types import DiscoveredModel, Method, Target
from providers.probes import probe, probe_plan
from providers.probes.probe import Stopwatch
from providers.protocols import model_list

# Errors that show that the server accepts the key: it counts, or bills, requests made with it.
_KEY_ACCEPTED = frozenset({ErrorKind.QUOTA, ErrorKind.RATE_LIMIT})
# Errors that a chat would meet as well.
_UNREACHABLE = frozenset({ErrorKind.NETWORK, ErrorKind.TIMEOUT})


@frozen
class ProviderTest:
    """A test of all stages over both methods."""

    draft: Draft

    async def run(self, emit: Emit) -> list[MethodResult]:
        """Run both methods side by side. A method that showed nothing has no result."""
        chat_slots = asyncio.Semaphore(self.draft.max_concurrent_chats)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(MethodTest(self.draft, method, emit, chat_slots).run())
                for method in Method
            ]
        return [result for task in tasks if (result := task.result())]


@frozen
class ModelsResult:
    """The result of `GET /models`."""

    models: list[DiscoveredModel]
    error: CallError | None
    exchange: Exchange | None
    stopwatch: Stopwatch
    ms: int

    @property
    def is_key_refused(self) -> bool:
        """Some keys may not list models, and chat all the same."""
        return bool(self.error and _is_refusal(self.error))


class MethodTest:
    """The stages over one method, in order; each depends on those before it."""

    def __init__(
        self, draft: Draft, method: Method, emit: Emit, chat_slots: asyncio.Semaphore
    ) -> None:
        self._draft = draft
        self._method = method
        self._report = StageReporter(method, STAGES, emit)
        self._chat_slots = chat_slots
        self._target = draft.target(method)

    async def run(self) -> MethodResult | None:
        """Run as many stages as possible; return the last call, if any shows something."""
        if not self._check_address():
            self._report.skip_open("Fix the address first.")
            return None
        await wait_for_gateway_process(self._target, self._report, "dns")
        stopwatch = Stopwatch()
        if error := await check_connection(self._target, self._report):
            self._report.skip_open("The server could not be reached.")
            return self._result(stopwatch, error)
        listing = await self._list_models()
        if listing.error and listing.error.kind in _UNREACHABLE:
            self._report.fail("models", listing.error, listing.ms, listing.exchange)
            self._report.skip_open("The server did not answer.")
            return self._result(listing.stopwatch, listing.error)
        if model_id := self._draft.model_id or pick_chat_model(
            [m.model_id for m in listing.models]
        ):
            return await self._chat(model_id, listing)
        return self._end_without_chat(listing)

    def _result(
        self,
        stopwatch: Stopwatch,
        error: CallError | None,
        model_id: str = "",
        reply: ChatReply | None = None,
    ) -> MethodResult:
        return MethodResult(
            method=self._method,
            started_at=stopwatch.started_at,
            ms=stopwatch.ms,
            model_id=model_id,
            error=error,
            reply=reply,
        )

    def _check_address(self) -> bool:
        typed = self._draft.connection
        is_direct = self._method == Method.DIRECT
        address = typed.base_url if is_direct else typed.gateway_endpoint
        if address and (problem := base_url.tidy(address).problem):
            error = CallError(ErrorKind.REQUEST, problem, code="invalid_address", sent=False)
            self._report.fail("address", error)
            return False
        if self._draft.problem:
            return False
        self._report.succeed("address", self._describe_address(self._target))
        return True

    def _describe_address(self, target: Target) -> str:
        if target.upstream:
            return "Gateway process"
        return " ".join((target.base_url, *self._draft.changes))

    async def _list_models(self) -> ModelsResult:
        self._report.start("auth")
        self._report.start("models")
        stopwatch = Stopwatch()
        with Recorder(secrets_of(self._target)).listening() as recorder:
            models, error = await probe.try_list_models(self._target)
        listing = ModelsResult(
            models=models,
            error=error,
            exchange=recorder.exchange,
            stopwatch=stopwatch,
            ms=stopwatch.ms,
        )
        if not error:
            self._report_models(listing)
        elif not listing.is_key_refused and error.kind not in _UNREACHABLE:
            self._report.fail("models", error, listing.ms, listing.exchange)
        return listing

    def _report_models(self, listing: ModelsResult) -> None:
        count = len(listing.models)
        detail = f"{count} model{'' if count == 1 else 's'}"
        if listing.exchange and (shape := model_list.describe_shape(listing.exchange.received)):
            detail += f", listed as {shape}"
        empty = None if count else remark("The list of models is empty.", "empty_list")
        self._report.succeed("models", detail, listing.ms, exchange=listing.exchange, remark=empty)

    def _end_without_chat(self, listing: ModelsResult) -> MethodResult | None:
        """No model to chat with: only the list shows whether the key is accepted."""
        if listing.error and listing.is_key_refused:
            self._report.fail("auth", listing.error, listing.ms, listing.exchange)
            self._report.skip_open("The key was refused.")
        elif listing.error:
            self._report.skip("auth", "The key could not be checked yet.")
            self._report.skip_open("No model to chat with.")
        else:
            self._report.succeed("auth", "The list of models was received.")
            self._report.skip_open("No model to chat with.")
            return None  # a list that anyone may read shows nothing about the key
        return self._result(listing.stopwatch, listing.error)

    async def _chat(self, model_id: str, listing: ModelsResult) -> MethodResult:
        """Send a chat, which decides whether the key is accepted."""
        self._report.start("chat", model_id)
        async with self._chat_slots:
            stopwatch = Stopwatch()
            reply = await test_chat.send(
                self._draft.target(self._method, model_id),
                on_first_token=partial(self._report_first_token, model_id),
            )
        if reply.error and reply.ttft_ms is None:
            model_id = self._report_failed_chat(model_id, reply, reply.error, listing)
        else:
            self._accept_key()
            self._report_refused_list(listing)
            test_chat.report_reply(reply, model_id, self._report)
        self._report.skip_open("No answer received.")
        return self._result(stopwatch, reply.error, model_id, reply)

    def _report_first_token(self, model_id: str, reply: ChatReply) -> None:
        self._accept_key()
        self._report.succeed("chat", f"{model_id}: first token", reply.ttft_ms)

    def _accept_key(self) -> None:
        if self._report.is_open("auth"):
            is_direct = self._method == Method.DIRECT
            needs_none = is_direct and not self._draft.connection.api_key
            self._report.succeed("auth", "No key is needed" if needs_none else "Key accepted")

    def _report_refused_list(self, listing: ModelsResult) -> None:
        """A refused list was kept back until the chat showed whether the key is at fault."""
        if listing.error and listing.is_key_refused:
            self._report.fail("models", listing.error, listing.ms, listing.exchange)

    def _report_failed_chat(
        self, model_id: str, reply: ChatReply, error: CallError, listing: ModelsResult
    ) -> str:
        """Report a chat without an answer; return the model it is about, empty for the key."""
        is_forbidden_model = error.kind == ErrorKind.PERMISSION and not listing.is_key_refused
        if _is_refusal(error) and not is_forbidden_model:
            self._report.fail("auth", error, reply.ms, reply.exchange)
            self._report.skip_open("The key was refused.")
            return "" if listing.is_key_refused else model_id
        self._report.fail("chat", error, reply.ms, reply.exchange)
        if not listing.error or error.kind in _KEY_ACCEPTED:
            self._accept_key()
        else:
            self._report.skip("auth", "The key could not be checked yet.")
        self._report_refused_list(listing)
        return model_id


def pick_chat_model(ids: Sequence[str]) -> str:
    """The first model whose id looks like a chat model, else the first; empty without models."""
    return next(iter([each for each in ids if probe_plan.is_chat_model(each)] or ids), "")


def _is_refusal(error: CallError) -> bool:
    """Whether the key was refused: the provider's, or the gateway's own."""
    is_gateway_key = error.kind == ErrorKind.GATEWAY and error.status in (400, 401, 403)
    return error.kind in (ErrorKind.AUTH, ErrorKind.PERMISSION) or is_gateway_key
