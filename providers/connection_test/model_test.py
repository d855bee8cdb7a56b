"""What one model answers and takes, found out by asking it: a few short chats, one after another.

A parameter counts as taken where the model answers with it, and as not taken where the request is
refused for it; anything else is told as it is and ends the asking.
"""

from collections.abc import Callable, Mapping
from typing import Any

from providers.connection_test import test_chat
from providers.connection_test.stages import (
    MODEL_STAGES,
    PARAMETERS,
    Draft,
    Stage,
    StageName,
    StageState,
    Walked,
    told_by,
)
from providers.connection_test.test_chat import Answer
from providers.domain.errors import ErrorKind
from providers.domain.types import ChatMessage, ChatRequest, Kind, Method
from providers.vendors import presets

_TOOL = {
    "type": "function",
    "function": {
        "name": "say_ok",
        "description": "Says OK.",
        "parameters": {"type": "object", "properties": {}},
    },
}
_SENT: Mapping[StageName, Any] = {
    "temperature": 0.5,
    "tools": [_TOOL],
    "response_format": {"type": "json_object"},
    "reasoning_effort": "low",
}
# OpenAI answers in JSON only where the word is said.
_ASKED = (ChatMessage(role="user", content='Say {"ok": true} and no more. It is JSON.'),)
_NOT_ANTHROPIC = frozenset({"response_format", "reasoning_effort"})


def asked_with(preset: str, kind: Kind) -> tuple[StageName, ...]:
    """The parameters that a model is asked with: none where the vendor's terms forbid chats that
    nobody wants an answer to."""
    if not presets.get(preset).probe_chat_allowed:
        return ()
    return tuple(n for n in PARAMETERS if kind != Kind.ANTHROPIC or n not in _NOT_ANTHROPIC)


class ModelTest(Walked):
    """One model's way through its stages: `error` and `answer` are the first chat's, `further` the
    answers of the others."""

    def __init__(self, draft: Draft, method: Method, say: Callable[[Stage], None]) -> None:
        super().__init__(draft, method, say, MODEL_STAGES)
        self.further: list[Answer] = []
        self._target = draft.target(method, draft.model_id)

    async def walk(self) -> None:
        """The chat, then one more for each parameter."""
        await self._wait_for_process("chat", self._target)
        self._tell("chat", "running", self.draft.model_id)
        answer = self.answer = await test_chat.ask(self._target)
        self.error, self.ms, self.model_id = answer.error, answer.ms, self.draft.model_id
        if answer.error and answer.ttft_ms is None:
            failed = answer.error
            self._tell("chat", "failed", failed.message, answer.ms, failed, answer.exchange)
            return self._skip_rest("No answer came.")
        for stage in told_by(answer, self.method, self.draft.model_id):
            self._put(stage)
        self._limits(answer)
        if answer.error:
            return self._skip_rest("The answer broke off.")
        if answer.limited:
            self._tell("max_tokens", "ok", "Accepted")
        else:
            self._tell("max_tokens", "warn", "Not accepted: the chat was asked without")
        return await self._parameters()

    def _limits(self, answer: Answer) -> None:
        told = answer.exchange.limits if answer.exchange else ()
        if told:
            self._tell("limits", "ok", ", ".join(f"{name}: {value}" for name, value in told))
        else:
            self._tell("limits", "skipped", "The answer's headers tell none.")

    async def _parameters(self) -> None:
        connection = self.draft.connection
        asked = asked_with(connection.preset, connection.kind)
        for name in PARAMETERS:
            if name in asked:
                self._tell(name, "running")
                answer = await self._with(name)
                if answer.error and answer.error.kind != ErrorKind.REQUEST:
                    return self._skip_rest(f"Could not be told: {answer.error.message}")
                self._judge(name, answer)
            elif asked:
                self._tell(name, "skipped", "Anthropic's format has no such field.")
        return self._skip_rest("The vendor's terms allow no chat that nobody asked for.")

    async def _with(self, name: StageName) -> Answer:
        limit = {"max_tokens": 16} if self.answer and self.answer.limited else {}
        request = ChatRequest(messages=_ASKED, options=limit | {name: _SENT[name]})
        answer = await test_chat.once(self._target, request)
        if not answer.error:
            self.further.append(answer)
        return answer

    def _judge(self, name: StageName, answer: Answer) -> None:
        state: StageState = "warn" if answer.error else "ok"
        detail = "Accepted"
        if answer.error:
            detail = f"Not accepted: {answer.error.message}"
        elif self._target.upstream:
            detail = "Answered; LiteLLM leaves out what a model does not take"
        self._tell(name, state, detail, answer.ms, exchange=answer.exchange)
