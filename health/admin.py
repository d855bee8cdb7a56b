"""Incidents and roll-ups in the Django admin, read-only: both are derived from attempts."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from health.models import HealthRollup, Incident
from providers.admin import Estimated, ReadOnly, one_of
from providers.domain.types import Method

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class DerivedAdmin(ReadOnly, _Admin):
    """Rows derived from attempts."""

    list_select_related = ("provider",)
    show_full_result_count = False  # counting all roll-ups is slow
    paginator = Estimated
    show_facets = admin.ShowFacets.NEVER


@admin.register(Incident)
class IncidentAdmin(DerivedAdmin):
    list_display = ("provider", "worst", "cause", "opened_at", "closed_at", "rescued")
    list_filter = ("worst", "cause")
    search_fields = ("provider__name", "sentence")
    date_hierarchy = "opened_at"


@admin.register(HealthRollup)
class HealthRollupAdmin(DerivedAdmin):
    list_display = ("provider", "method", "hour", "good", "bad", "rescued", "ttft_p95_ms", "cost")
    list_filter = (one_of("method", list(Method)),)
    date_hierarchy = "hour"
