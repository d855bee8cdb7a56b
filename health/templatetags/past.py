"""The past of providers on pages of other apps, which do not know this one."""

from collections.abc import Sequence

from django import template
from django.utils import timezone

from health import status_page, uptime_history
from health.uptime_bars import Row
from providers.operations.cards import Card

register = template.Library()


@register.simple_tag
def past_day(cards: Sequence[Card]) -> list[Row]:
    """Each card with its bars of the last 24 hours and its spend; two queries in all."""
    now, ids = timezone.now(), [card.provider.pk for card in cards]
    known, spent = (
        uptime_history.buckets(status_page.USUAL, now, ids),
        uptime_history.spend(now, ids),
    )
    return [
        Row(
            card=card,
            shown=status_page.USUAL,
            buckets=status_page.fill(known.get(card.provider.pk, []), status_page.USUAL, now),
            spend=spent.get(card.provider.pk, status_page.NOTHING),
        )
        for card in cards
    ]
