"""What the chat's tests share: a model to ask, turns in any state, and a clean Redis."""

from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from chat import turns
from chat.models import Conversation, Message, Status
from providers.domain.types import (
    AttemptRecord,
    ChatRequest,
    Completed,
    Method,
    RouteTaken,
    StreamEvent,
    TextDelta,
    Usage,
)
from providers.models import LanguageModel, Provider
from providers.router.call import Call


@pytest.fixture(autouse=True)
def clean_redis() -> Iterator["redis.Redis"]:
    """Each test has an empty Redis: turn ids come again when rows are rolled back."""
    with redis.Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        client.flushdb()
        yield client


@pytest.fixture
def model(make_provider: Callable[..., Provider]) -> LanguageModel:
    return make_provider("Acme", "tiny").language_models.get()


@pytest.fixture
def make_turn(owner: User, model: LanguageModel) -> Callable[..., Message]:
    """A reply that waits, or is as the fields say; each in a conversation of its own."""

    def make(question: str = "Hello?", **fields: Any) -> Message:
        conversation: Conversation | None = fields.pop("conversation", None)
        turn = turns.start(owner, conversation, question, model)
        if fields.get("status") == Status.RUNNING:
            ended = timezone.now() - timedelta(seconds=1)
            fields = {"runner": "gone", "lease_until": ended, "runs": 1} | fields
        Message.objects.filter(pk=turn.pk).update(**fields)
        turn.refresh_from_db()
        return turn

    return make


ROUTE = RouteTaken(
    route_id=1,
    method=Method.DIRECT,
    provider_name="Acme",
    model="tiny",
    reason="direct is preferred",
    fallback=False,
    ttft_ms=120,
)
DONE = Completed(
    attempts=(),
    usage=Usage(input_tokens=3, output_tokens=5),
    cost=None,
    finish_reason="stop",
)


@dataclass
class Script:
    """In the router's place: yields its steps; awaits the awaitable ones, raises the exceptions."""

    steps: list[Any] = field(default_factory=list)
    calls: list[tuple[Call, ChatRequest]] = field(default_factory=list)
    closed: int = 0

    async def __call__(self, call: Call, request: ChatRequest) -> AsyncGenerator[StreamEvent]:
        self.calls.append((call, request))
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if callable(step):
                    await step()
                else:
                    yield TextDelta(text=step) if isinstance(step, str) else step
        finally:
            self.closed += 1


@pytest.fixture
def failed_attempt() -> AttemptRecord:
    return AttemptRecord(
        route_id=1,
        method=Method.DIRECT,
        endpoint="",
        outcome="network",
        reason="direct is preferred",
        started_at=timezone.now(),
        duration_ms=12,
        error_message="Connection refused.",
    )
