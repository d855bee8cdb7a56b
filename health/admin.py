"""Incidents and roll-ups in the Django admin: to be read, as they only follow from attempts."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from health.models import HealthRollup, Incident
from providers.admin import Estimated, ReadOnly, one_of
from providers.domain.types import Method

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class Followed(ReadOnly, _Admin):
    """What follows from attempts."""

    list_select_related = ("provider",)
    show_full_result_count = False  # roll-ups are many, and counting them all is slow
    paginator = Estimated
    show_facets = admin.ShowFacets.NEVER


@admin.register(Incident)
class IncidentAdmin(Followed):
    list_display = ("provider", "worst", "cause", "opened_at", "closed_at", "rescued")
    list_filter = ("worst", "cause")
    search_fields = ("provider__name", "sentence")
    date_hierarchy = "opened_at"


@admin.register(HealthRollup)
class HealthRollupAdmin(Followed):
    list_display = ("provider", "method", "hour", "good", "bad", "rescued", "ttft_p95_ms", "cost")
    list_filter = (one_of("method", list(Method)),)
    date_hierarchy = "hour"
