"""What people do with conversations: ask, ask again, stop. The rows say it all; runners act on it.

A turn is written in one transaction, question and pending reply together. Telling the runners is
a courtesy done after the commit: they look for themselves every second.
"""

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from chat import stream
from chat.models import Conversation, Message, Role, Status
from providers.models import LanguageModel

TITLE_LENGTH = 60


class StillAnswering(Exception):
    """The conversation's last answer is not finished: it has to be awaited or stopped first."""


class WentOn(Exception):
    """More has been said after this answer: another one beside it would hide what followed."""


def start(
    user: AbstractBaseUser,
    conversation: Conversation | None,
    text: str,
    language_model: LanguageModel,
) -> Message:
    """A question and its pending reply, in a new conversation where none is given."""
    with transaction.atomic():
        if conversation is None:
            conversation = Conversation(owner_id=user.pk, title=title_of(text))
            conversation.save()
        else:
            _lock(conversation)
        last = thread(conversation)[-1:]
        question = Message.objects.create(
            conversation=conversation,
            parent=last[0] if last else None,
            role=Role.USER,
            text=text,
        )
        return _reply(question, language_model)


def retry(reply: Message, language_model: LanguageModel) -> Message:
    """Another answer to the same question, beside the one that is there."""
    with transaction.atomic():
        _lock(reply.conversation)
        if reply.children.exists():
            raise WentOn
        question = Message.objects.get(children=reply)
        return _reply(question, language_model)


def stop(turn: Message) -> None:
    """A turn nobody has taken ends here; a running one within a second, by its runner."""
    now = timezone.now()
    waiting = Message.objects.filter(pk=turn.pk, status=Status.PENDING)
    if waiting.update(status=Status.STOPPED, finished_at=now):
        return
    if Message.objects.active().filter(pk=turn.pk).update(stop_requested=True):
        stream.ask_stop(turn.pk)


def _lock(conversation: Conversation) -> None:
    """One turn at a time: a second press of Send waits here, and is then told."""
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    if conversation.messages.active().exists():
        raise StillAnswering


def _reply(question: Message, language_model: LanguageModel) -> Message:
    reply = Message.objects.create(
        conversation=question.conversation,
        parent=question,
        role=Role.ASSISTANT,
        status=Status.PENDING,
        provider=language_model.provider,
        language_model=language_model,
        provider_name=language_model.provider.name,
        model_name=language_model.name,
    )
    Conversation.objects.filter(pk=question.conversation_id).update(
        language_model=language_model, updated_at=timezone.now()
    )
    transaction.on_commit(lambda: stream.wake(reply.pk))
    return reply


def title_of(text: str) -> str:
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


def marked(thread: list[Message]) -> list[Message]:
    """Tells of each message whether another follows, and whether the model changed before it."""
    before = ""
    for message in thread:
        message.followed = message is not thread[-1]
        if message.role == Role.ASSISTANT:
            model = str(message.language_model_id or message.model_name)
            message.switched = bool(before) and model != before
            before = model
    return thread
