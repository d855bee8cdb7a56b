"""Figures as people read them: seconds, dollars, short ages."""

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone

from providers.diagnosis import wording

register = template.Library()


@register.filter
def seconds(milliseconds: int | None) -> str:
    """`1240` is `1.2 s`; under a tenth of a second it is milliseconds."""
    if milliseconds is None:
        return ""
    return f"{milliseconds} ms" if milliseconds < 100 else f"{milliseconds / 1000:.1f} s"


@register.filter
def dollars(amount: Decimal | None) -> str:
    """`$0.0021`; empty where it is not known."""
    return wording.format_usd(amount)


@register.filter
def age(moment: datetime) -> str:
    """The time since a moment, in its shortest form."""
    minutes = int((timezone.now() - moment).total_seconds() // 60)
    if minutes < 1:
        return "now"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 24 * 60 else f"{minutes // (24 * 60)} d"
