"""What conversations have to do with a provider, on pages of other apps."""

from django import template
from django.db.models import Q

from chat.models import Conversation
from providers.models import Provider

register = template.Library()


@register.simple_tag
def conversations_with(provider: Provider) -> int:
    """How many would ask one of its models next, or were answered by it."""
    uses = Q(language_model__provider=provider) | Q(messages__provider=provider)
    return Conversation.objects.filter(uses).order_by().values("pk").distinct().count()
