"""Render the parts of a conversation's page that streams send, with the page's own templates."""

from collections.abc import Iterable

from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from chat import waiting
from chat.answer_buffer import route_columns
from chat.event_tail import StoredMessage
from chat.markdown import document
from chat.models import Message, Role
from providers.domain.types import AttemptStarted, RouteTaken
from providers.models import Attempt


def with_attempts(messages: Iterable[Message]) -> list[Message]:
    """Gives each reply its attempts, with one query for all."""
    shown = list(messages)
    request_ids = [message.request_id for message in shown if message.method or message.error]
    attempts: dict[object, list[Attempt]] = {}
    if request_ids:
        for attempt in Attempt.objects.filter(request_id__in=request_ids).order_by("started_at"):
            attempts.setdefault(attempt.request_id, []).append(attempt)
    for message in shown:
        message.attempts = attempts.get(message.request_id, [])
        message.shown_html = mark_safe(html_of(message))  # noqa: S308 - render.py's own
    return shown


def html_of(message: Message) -> str:
    """The runner's rendering; of what is under way, the part that is saved."""
    if message.role == Role.USER:
        return ""
    return message.html if not message.is_active else document(message.text, str(message.pk))


def render_finished(message: Message) -> str:
    """The finished reply in place of the growing one, and the page's other parts that show it."""
    return render_to_string("chat/changes.html#finished", {"message": with_attempts([message])[0]})


def render_route(turn_id: int, event: RouteTaken | AttemptStarted) -> str:
    """The route, shown when a call goes out over it and when it answers."""
    if isinstance(event, AttemptStarted):
        message = Message(pk=turn_id, waiting=waiting.columns(event))
        return render_to_string("chat/message.html#waits", {"message": message})
    message = Message(pk=turn_id, **route_columns(event))
    return render_to_string("chat/message.html#route", {"message": message})


def load_stored(turn_id: int) -> StoredMessage:
    """The stored message, for readers whose log is gone."""
    turn = (
        Message.objects.filter(pk=turn_id).select_related("conversation", "language_model").first()
    )
    if turn is None:
        return StoredMessage(
            end=f'<hx-partial hx-target="#message-{turn_id}" hx-swap="delete"></hx-partial>'
        )
    if turn.is_active:
        return StoredMessage(html=document(turn.text, str(turn_id)), reasoning=turn.reasoning)
    return StoredMessage(end=render_finished(turn))
