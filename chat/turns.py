"""Start, retry, resume and stop turns as rows of the database; runners act on the rows.

A turn is written in one transaction, question and pending reply together. The notification after
the commit only saves time: runners read the rows each second. A form that is sent twice makes one
turn: a hash of its token and text is unique in the database.
"""

import hashlib

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from chat import notifications
from chat.models import Conversation, Message, Role, Status
from providers.models import LanguageModel, VirtualModel

TITLE_LENGTH = 60


class StillAnswering(Exception):
    """The conversation's last answer is not finished: wait for it, or stop it."""


class AlreadySent(Exception):
    """This form was sent before, with the same text; `reply` is the answer to it."""

    def __init__(self, reply: Message) -> None:
        super().__init__()
        self.reply = reply


class HasFollowUp(Exception):
    """Messages follow this answer: another one beside it would hide them."""


def start(
    user: AbstractBaseUser,
    conversation: Conversation | None,
    text: str,
    language_model: LanguageModel,
    token: str = "",
    virtual_model: VirtualModel | None = None,
) -> Message:
    """A question and its pending reply, in a new conversation where none is given.

    With `virtual_model`, its members answer, of which `language_model` is the first. `token` names
    the form that was filled in. Raises AlreadySent where that form was sent before with this text,
    and StillAnswering.
    """
    submission = _hash_submission(user, conversation, token, text) if token else None
    try:
        with transaction.atomic():
            if conversation is None:
                conversation = Conversation(owner_id=user.pk, title=make_title(text))
                conversation.save()
            else:
                _lock(conversation.pk)
                _refuse_repeated(submission)
                _refuse_busy(conversation)
            last = thread(conversation)[-1:]
            question = Message.objects.create(
                conversation=conversation,
                parent=last[0] if last else None,
                role=Role.USER,
                text=text,
                submission=submission,
            )
            return _create_reply(question, language_model, virtual_model)
    except IntegrityError:
        _refuse_repeated(submission)
        raise


def _hash_submission(
    user: AbstractBaseUser, conversation: Conversation | None, token: str, text: str
) -> str:
    """One sending of one form: another text in the same form is another message."""
    parts = (str(user.pk), str(conversation.pk if conversation else ""), token, text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _refuse_repeated(submission: str | None) -> None:
    """Raises AlreadySent where this submission is stored."""
    if submission is None:
        return
    reply = Message.objects.filter(parent__submission=submission).order_by("pk").last()
    if reply:
        raise AlreadySent(reply)


def retry(
    reply: Message, language_model: LanguageModel, virtual_model: VirtualModel | None = None
) -> Message:
    """Start another answer to the same question. Raises AlreadySent if there is a newer one,
    StillAnswering and HasFollowUp."""
    with transaction.atomic():
        _lock(reply.conversation_id)
        newest = Message.objects.filter(parent_id=reply.parent_id).order_by("pk").last()
        if newest and newest.pk != reply.pk:
            raise AlreadySent(newest)
        _refuse_busy(reply.conversation)
        if reply.children.exists():
            raise HasFollowUp
        question = Message.objects.get(children=reply)
        return _create_reply(question, language_model, virtual_model)


def resume(reply: Message, length: int) -> Message:
    """Continue the same answer from its end; `length` is how many characters the user saw.

    Raises AlreadySent where it was continued before or cannot be, StillAnswering and HasFollowUp.
    """
    with transaction.atomic():
        _lock(reply.conversation_id)
        _refuse_busy(reply.conversation)
        reply.refresh_from_db()
        if not reply.can_continue or len(reply.text) != length:
            raise AlreadySent(reply)
        if reply.children.exists():
            raise HasFollowUp
        Message.objects.filter(pk=reply.pk).update(
            status=Status.PENDING,
            continued_from=length,
            stop_requested=False,
            runs=0,
            error=None,
            finish_reason="",
            finished_at=None,
        )
        transaction.on_commit(lambda: _restart(reply.pk))
    reply.refresh_from_db()
    return reply


def _restart(turn_id: int) -> None:
    """Drop the log of an answer that ended, so that no reader takes its end for the new one."""
    notifications.drop_log(turn_id)
    notifications.wake_runner(turn_id)


def stop(turn: Message) -> None:
    """End a waiting turn here; the runner of a running one ends it within a second."""
    now = timezone.now()
    waiting = Message.objects.filter(pk=turn.pk, status=Status.PENDING)
    if waiting.update(status=Status.STOPPED, finished_at=now):
        return
    if Message.objects.active().filter(pk=turn.pk).update(stop_requested=True):
        notifications.request_stop(turn.pk)


def _lock(conversation_id: int) -> None:
    """One change of a conversation at a time; a second press of Send waits here."""
    Conversation.objects.select_for_update().get(pk=conversation_id)


def _refuse_busy(conversation: Conversation) -> None:
    """Raises StillAnswering."""
    if conversation.messages.active().exists():
        raise StillAnswering


def _create_reply(
    question: Message, language_model: LanguageModel, virtual_model: VirtualModel | None
) -> Message:
    reply = Message.objects.create(
        conversation=question.conversation,
        parent=question,
        role=Role.ASSISTANT,
        status=Status.PENDING,
        provider=language_model.provider,
        language_model=language_model,
        virtual_model=virtual_model,
        provider_name=language_model.provider.name,
        model_name=language_model.name,
    )
    Conversation.objects.filter(pk=question.conversation_id).update(
        language_model=None if virtual_model else language_model,
        virtual_model=virtual_model,
        virtual_name=virtual_model.name if virtual_model else "",
        updated_at=timezone.now(),
    )
    transaction.on_commit(lambda: notifications.wake_runner(reply.pk))
    return reply


def make_title(text: str) -> str:
    """The first words of the first line, cut at a word's end."""
    words = text.strip().splitlines()[0].split() if text.strip() else []
    title = ""
    for word in words:
        if len(title) + len(word) >= TITLE_LENGTH:
            return f"{title or word[: TITLE_LENGTH - 1]}…"
        title = f"{title} {word}" if title else word
    return title


def thread(conversation: Conversation) -> list[Message]:
    """The messages that the page shows: from the first on, the newest of siblings each time."""
    newest: dict[int | None, Message] = {
        message.parent_id: message
        for message in conversation.messages.select_related("language_model", "provider")
    }
    path: list[Message] = []
    at: int | None = None
    while message := newest.get(at):
        path.append(message)
        at = message.pk
    return path


def mark_switches(thread: list[Message]) -> list[Message]:
    """Sets `followed` (a message follows) and `switched` (the model changed) of each message."""
    before = ""
    for message in thread:
        message.followed = message is not thread[-1]
        if message.role == Role.ASSISTANT:
            model = str(message.language_model_id or message.model_name)
            message.switched = bool(before) and model != before
            before = model
    return thread
