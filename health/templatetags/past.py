"""The past of providers on pages of other apps, which do not know this one."""

from collections.abc import Sequence

from django import template
from django.utils import timezone

from health import history, summary
from health.bars import Row
from providers.views.cards import Card

register = template.Library()


@register.simple_tag
def past_day(cards: Sequence[Card]) -> list[Row]:
    """Each card with its bars of the last 24 hours and its spend; two queries in all."""
    now, ids = timezone.now(), [card.provider.pk for card in cards]
    known, spent = history.buckets(summary.USUAL, now, ids), history.spend(now, ids)
    return [
        Row(
            card=card,
            shown=summary.USUAL,
            buckets=summary.fill(known.get(card.provider.pk, []), summary.USUAL, now),
            spend=spent.get(card.provider.pk, summary.NOTHING),
        )
        for card in cards
    ]
