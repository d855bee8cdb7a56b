"""Show the history of providers on pages of other apps, which cannot import this one."""

from collections.abc import Sequence

from django import template
from django.utils import timezone

from health import status_page, uptime_history
from health.uptime_bars import HistoryRow
from providers.operations.cards import Card

register = template.Library()


@register.simple_tag
def past_day(cards: Sequence[Card]) -> list[HistoryRow]:
    """Each card with its bars of the last 24 hours and its spend; two queries."""
    now, ids = timezone.now(), [card.provider.pk for card in cards]
    shown = status_page.DEFAULT_RANGE
    buckets = uptime_history.load_buckets(shown, now, ids)
    spend = uptime_history.load_spend(now, ids)
    return [
        HistoryRow(
            card=card,
            shown=shown,
            buckets=status_page.fill(buckets.get(card.provider.pk, []), shown, now),
            spend=spend.get(card.provider.pk, status_page.NO_SPEND),
        )
        for card in cards
    ]
