"""Count the conversations that use a provider, for pages of other apps."""

from django import template
from django.db.models import Q

from chat.models import Conversation
from providers.models import Provider

register = template.Library()


@register.simple_tag
def conversations_with(provider: Provider) -> int:
    """The number of conversations that would send their next message to one of its models, or have
    an answer from it."""
    uses = Q(language_model__provider=provider) | Q(messages__provider=provider)
    return Conversation.objects.filter(uses).order_by().values("pk").distinct().count()
