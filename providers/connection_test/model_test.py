"""The test of one model: a few short chats in turn show what it answers and what it accepts.

A parameter is accepted where the model answers with it, and not accepted where the request is
refused. Any other error ends the test: it shows nothing about the parameter.
"""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from providers.connection_test import test_chat
from providers.connection_test.connection_stages import wait_for_gateway_process
from providers.connection_test.draft import Draft
from providers.connection_test.recording import MethodResult
from providers.connection_test.stages import (
    MODEL_STAGES,
    PARAMETERS,
    Emit,
    StageName,
    StageReporter,
    StageState,
)
from providers.connection_test.test_chat import ChatReply
from providers.domain.errors import ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import ChatMessage, ChatRequest, Kind, Method, Target
from providers.vendors import presets

_TOOL = {
    "type": "function",
    "function": {
        "name": "say_ok",
        "description": "Says OK.",
        "parameters": {"type": "object", "properties": {}},
    },
}
_VALUES: Mapping[StageName, Any] = {
    "temperature": 0.5,
    "tools": [_TOOL],
    "response_format": {"type": "json_object"},
    "reasoning_effort": "low",
}
# OpenAI answers in JSON only where the prompt contains the word.
_MESSAGES = (ChatMessage(role="user", content='Say {"ok": true} and no more. It is JSON.'),)
_NOT_IN_ANTHROPIC = frozenset({"response_format", "reasoning_effort"})


def tested_parameters(preset: str, kind: Kind) -> tuple[StageName, ...]:
    """The parameters that are tried; none where the vendor's terms forbid automated test chats."""
    if not presets.get(preset).probe_chat_allowed:
        return ()
    return tuple(n for n in PARAMETERS if kind != Kind.ANTHROPIC or n not in _NOT_IN_ANTHROPIC)


@frozen
class ModelTest:
    """A test of one stored model over one method."""

    draft: Draft
    method: Method

    async def run(self, emit: Emit) -> list[MethodResult]:
        """Send a plain chat, then one more for each parameter."""
        report = StageReporter(self.method, MODEL_STAGES, emit)
        target = self.draft.target(self.method, self.draft.model_id)
        await wait_for_gateway_process(target, report, "chat")
        report.start("chat", self.draft.model_id)
        started_at = timezone.now()
        reply = await test_chat.send(target)
        further: tuple[ChatReply, ...] = ()
        if self._report_plain_chat(reply, report):
            further = await self._try_parameters(reply, target, report)
        result = MethodResult(
            method=self.method,
            started_at=started_at,
            ms=reply.ms,
            model_id=self.draft.model_id,
            error=reply.error,
            reply=reply,
            further=further,
        )
        return [result]

    def _report_plain_chat(self, reply: ChatReply, report: StageReporter) -> bool:
        """Report the first chat; return whether parameters can be tried."""
        if reply.error and reply.ttft_ms is None:
            report.fail("chat", reply.error, reply.ms, reply.exchange)
            report.skip_open("No answer received.")
            return False
        test_chat.report_reply(reply, self.draft.model_id, report)
        _report_limits(reply, report)
        if reply.error:
            report.skip_open("The answer broke off.")
            return False
        if reply.limit_accepted:
            report.succeed("max_tokens", "Accepted")
        else:
            report.end("max_tokens", "warn", "Not accepted: the chat was sent without it")
        return True

    async def _try_parameters(
        self, plain: ChatReply, target: Target, report: StageReporter
    ) -> tuple[ChatReply, ...]:
        """Send a chat with each parameter; return the replies that succeeded."""
        connection = self.draft.connection
        tested = tested_parameters(connection.preset, connection.kind)
        if not tested:
            report.skip_open("The vendor's terms do not allow automated test chats.")
        replies = []
        for name in PARAMETERS if tested else ():
            if name not in tested:
                report.skip(name, "Anthropic's format has no such field.")
                continue
            report.start(name)
            reply = await _send_with(name, plain, target)
            if reply.error and reply.error.kind != ErrorKind.REQUEST:
                report.skip_open(f"Could not be tested: {reply.error.message}")
                break
            _report_parameter(name, reply, target, report)
            replies += [] if reply.error else [reply]
        return tuple(replies)


async def _send_with(name: StageName, plain: ChatReply, target: Target) -> ChatReply:
    limit = {"max_tokens": 16} if plain.limit_accepted else {}
    request = ChatRequest(messages=_MESSAGES, options=limit | {name: _VALUES[name]})
    return await test_chat.send_once(target, request)


def _report_limits(reply: ChatReply, report: StageReporter) -> None:
    limits = reply.exchange.limits if reply.exchange else ()
    if limits:
        report.succeed("limits", ", ".join(f"{name}: {value}" for name, value in limits))
    else:
        report.skip("limits", "The response has no rate limit headers.")


def _report_parameter(
    name: StageName, reply: ChatReply, target: Target, report: StageReporter
) -> None:
    state: StageState = "warn" if reply.error else "ok"
    detail = "Accepted"
    if reply.error:
        detail = f"Not accepted: {reply.error.message}"
    elif target.upstream:
        detail = "Answered; LiteLLM drops parameters that a model does not support"
    report.end(name, state, detail, reply.ms, exchange=reply.exchange)
