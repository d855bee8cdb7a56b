"""Claim, renew, save and finish a runner's turns with compare-and-set statements.

A runner may write a turn while it holds the lease. Each statement checks the lease in its WHERE;
where it changes no row, another runner has the turn, and this one must drop it.
"""

from collections.abc import Collection, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Literal

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from chat import choices
from chat.endings import CONTINUE
from chat.models import LEASE, Conversation, Message, Role, Status
from providers.domain.frozen import frozen
from providers.domain.types import ChatMessage, ChatRequest
from providers.models import LanguageModel, Purpose
from providers.router.call import Call

MAX_RUNS = 3  # a turn that outlived as many runners may be what kills them

_ADDED = (
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"),
    *("cost", "duration_ms"),
)

type Columns = Mapping[str, Any]


@frozen
class Work:
    """One claimed turn: what to ask, and what an earlier runner had saved of the answer.

    `continued` is how many characters of it stay whatever happens: the answer goes on from there,
    and `earlier_figures` are the figures it had then. `call` is None where the provider or the
    model was removed.
    """

    turn_id: int
    call: Call | None
    request: ChatRequest
    runs: int
    text: str
    reasoning: str
    continued: int = 0
    earlier_figures: Columns = field(default_factory=dict)

    def columns(self, last: Columns) -> Columns:
        """The last run's columns, their figures added to those of the runs before it."""
        return {
            **last,
            **{
                name: before + (last.get(name) or 0)
                for name, before in self.earlier_figures.items()
            },
        }


@frozen
class Renewal:
    """The result of a renewal: the turns that this runner still holds, and those to stop."""

    held: frozenset[int]
    stops: frozenset[int]


def claim(runner: str, limit: int, holding: Collection[int] = ()) -> list[Work]:
    """Takes up to `limit` turns: new ones, and those whose runner let the lease end.

    `holding` are the runner's own turns: it never takes them over from itself, however late it is.
    """
    now = timezone.now()
    waiting = Q(status=Status.PENDING) | Q(status=Status.RUNNING, lease_until__lt=now)
    free = Message.objects.filter(waiting).exclude(pk__in=holding)
    rows = free.order_by("pk").values_list("pk", "status")[:limit]
    claimed = [_work(pk) for pk, status in list(rows) if _claim(pk, status, runner, now)]
    return [each for each in claimed if each]


def _claim(pk: int, status: str, runner: str, now: datetime) -> bool:
    if status == Status.PENDING:
        return Message.objects.claim(pk, runner, now)
    return Message.objects.take_over(pk, runner, now)


def _work(pk: int) -> Work | None:
    related = ("language_model__provider", "conversation")
    turn = Message.objects.select_related(*related).filter(pk=pk).first()
    if turn is None:
        return None  # deleted at this very moment
    model = turn.language_model
    options = _parameters(model) if model else {}
    return Work(
        turn_id=pk,
        call=_call(turn, model) if model else None,
        request=ChatRequest(messages=(*history(turn), *_so_far(turn)), options=options),
        runs=turn.runs,
        text=turn.text,
        reasoning=turn.reasoning,
        continued=turn.continued_from,
        earlier_figures=_figures(turn) if turn.continued_from else {},
    )


def _so_far(turn: Message) -> tuple[ChatMessage, ...]:
    """Of an answer that goes on: what there is of it, and the request for the rest."""
    if not turn.continued_from:
        return ()
    before = turn.text[: turn.continued_from]
    return (
        ChatMessage(role="assistant", content=before),
        ChatMessage(role="user", content=CONTINUE),
    )


def _figures(turn: Message) -> dict[str, Any]:
    """The cost of an answer so far, if known."""
    figures = {name: getattr(turn, name) for name in _ADDED}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _parameters(model: LanguageModel) -> dict[str, Any]:
    """The parameters of the provider, overridden by those of the model. Operators enter them: a
    value that is no object must not stop the runner."""
    typed = (model.provider.parameters, model.parameters)
    return {name: value for each in typed if isinstance(each, dict) for name, value in each.items()}


def _call(turn: Message, model: LanguageModel) -> Call | None:
    """None where no member of the virtual model that was picked can answer any more."""
    virtual_id = turn.virtual_model_id
    members = choices.find_members(virtual_id) if virtual_id else None
    if virtual_id and members is None:
        return None
    return Call(
        provider_id=model.provider_id,
        model_id=model.model_id,
        purpose=Purpose.CHAT,
        request_id=turn.request_id,
        user_id=turn.conversation.owner_id,
        virtual=members,
        session=f"conversation-{turn.conversation_id}",
    )


def history(turn: Message) -> tuple[ChatMessage, ...]:
    """The earlier messages, from the first on. A question without an answer is omitted with its
    empty reply, because it is often sent again."""
    before = Message.objects.filter(conversation=turn.conversation_id, pk__lt=turn.pk)
    messages_by_id = {row.pk: row for row in before.only("parent_id", "role", "text")}
    messages: list[ChatMessage] = []
    at = messages_by_id.get(turn.parent_id or 0)
    while at:
        if at.role == Role.ASSISTANT and not at.text:
            at = messages_by_id.get(at.parent_id or 0)
        elif at.text:
            role: Literal["user", "assistant"] = "user" if at.role == Role.USER else "assistant"
            messages.append(ChatMessage(role=role, content=at.text))
        at = messages_by_id.get(at.parent_id or 0) if at else None
    return tuple(reversed(messages))


def renew(runner: str, turn_ids: Collection[int], saves: Mapping[int, Columns]) -> Renewal:
    """Renews the leases of these turns in one statement, and saves what has grown."""
    mine = Message.objects.held_by(runner)
    with transaction.atomic():
        mine.filter(pk__in=turn_ids).update(lease_until=timezone.now() + LEASE)
        rows = mine.filter(pk__in=turn_ids).values_list("pk", "stop_requested")
        held = dict(rows)
        for pk, columns in saves.items():
            mine.filter(pk=pk).update(**columns)
    return Renewal(held=frozenset(held), stops=frozenset(pk for pk, stop in held.items() if stop))


def finish(runner: str, turn_id: int, columns: Columns) -> Message | None:
    """Store the end of a turn, and return it; None if another runner has taken it over."""
    now = timezone.now()
    with transaction.atomic():
        held = Message.objects.held_by(runner).filter(pk=turn_id)
        if held.update(**columns, runner="", lease_until=None, finished_at=now) != 1:
            return None
        Conversation.objects.filter(messages=turn_id).update(updated_at=now)
    return (
        Message.objects.select_related("conversation", "language_model").filter(pk=turn_id).first()
    )


def release(runner: str, saves: Mapping[int, Columns]) -> None:
    """A runner that must end now: others may take its turns at once."""
    for pk, columns in saves.items():
        held = Message.objects.held_by(runner).filter(pk=pk)
        held.update(**columns, lease_until=timezone.now())
