"""The model a composer begins with: the one used last, or none and the reason, never another."""

from django.contrib.auth.models import User

from chat import choices
from chat.models import Conversation, Message, Role
from providers.domain.frozen import frozen
from providers.models import LanguageModel


@frozen
class Pick:
    """`model_id` is chosen at first, as `choices` writes it; with a `problem` the user has to pick
    one."""

    model_id: int | str | None = None
    problem: str = ""


def pick_for(user: User, conversation: Conversation | None) -> Pick:
    """The conversation's own model; in a new one, that of the user's latest conversation."""
    latest = conversation or Conversation.objects.of(user).with_model().first()
    if latest is None:
        return Pick()
    if latest.virtual_name:
        return _pick_virtual(latest)
    return _pick(latest.language_model, latest, new=conversation is None)


def pick_named(value: str) -> Pick:
    """A model that a link names, by its value in forms."""
    if choices.find(value):
        return Pick(model_id=value)
    return Pick(problem="That model cannot be used now. Pick another model.")


def _pick_virtual(latest: Conversation) -> Pick:
    value = choices.value_of(None, latest.virtual_model_id)
    if value and choices.find(value):
        return Pick(model_id=value)
    problem = "is not in use" if value else "was removed"
    return Pick(problem=f"{latest.virtual_name} {problem}. Pick another model.")


def _pick(model: LanguageModel | None, latest: Conversation, *, new: bool) -> Pick:
    problem = unusable_reason(model, latest)
    if not problem:
        return Pick(model_id=latest.language_model_id)
    next_step = "Pick a model to start." if new else "Pick a model to go on."
    return Pick(problem=f"{problem} {next_step}")


def unusable_reason(model: LanguageModel | None, conversation: Conversation) -> str:
    """Why this model cannot answer now, as a sentence; empty where it can."""
    if model is None:
        return f"{_last_name(conversation)} was removed."
    provider = model.provider
    if provider.removed_at:
        return f"The provider {provider.name} was removed."
    if not provider.enabled:
        return f"The provider {provider.name} is paused."
    if model.missing_since:
        return f"{provider.name} no longer offers {model.name}."
    return "" if model.enabled else f"{model.name} is switched off at {provider.name}."


def _last_name(conversation: Conversation) -> str:
    """The model and provider that answered last: their rows are gone, their names are kept."""
    replies = conversation.messages.filter(role=Role.ASSISTANT).order_by("-pk")
    last: Message | None = replies.only("model_name", "provider_name").first()
    if last is None or not last.model_name:
        return "The model used last"
    return f"The model {last.model_name} of {last.provider_name}"
