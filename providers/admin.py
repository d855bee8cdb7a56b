"""The operators' admin: all can be looked at; keys cannot be read, nor attempts changed."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers import changes
from providers.fields import mask
from providers.models import Attempt, LanguageModel, Provider, Route

if TYPE_CHECKING:
    _ProviderAdmin = admin.ModelAdmin[Provider]
    _RouteAdmin = admin.ModelAdmin[Route]
    _LanguageModelAdmin = admin.ModelAdmin[LanguageModel]
    _AttemptAdmin = admin.ModelAdmin[Attempt]
    _Providers = QuerySet[Provider]
    _LanguageModels = QuerySet[LanguageModel]
else:
    _ProviderAdmin = _RouteAdmin = _LanguageModelAdmin = _AttemptAdmin = admin.ModelAdmin


class ReadOnly:
    """Rows the program writes: to be read here, never to be changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Provider)
class ProviderAdmin(_ProviderAdmin):
    """Addresses and keys are changed on the provider's own page, which starts its routes anew."""

    list_display = ("name", "base_url", "routing_method", "health_status", "enabled", "key")
    list_filter = ("health_status", "routing_method", "provider_type", "enabled", "preset")
    search_fields = ("name", "slug", "base_url")
    exclude = ("api_key", "extra_headers", "gateway_api_key", "created_by")
    autocomplete_fields = ("alternatives",)
    readonly_fields = (
        "slug",
        "preset",
        "kind",
        "base_url",
        "gateway_endpoint",
        "key",
        "gateway_key",
        "header_names",
        "key_set_at",
        "health_status",
        "health_reason",
        "last_health_check",
        "consecutive_failures",
        "switched_at",
        "flaps",
        "next_check_at",
        "models_refreshed_at",
        "models_error",
        "created_at",
    )
    actions = ("enable", "disable")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="API key")
    def key(self, provider: Provider) -> str:
        return provider.masked_key or "none"

    @admin.display(description="Gateway key")
    def gateway_key(self, provider: Provider) -> str:
        return mask(provider.gateway_api_key) or "none"

    @admin.display(description="Extra headers")
    def header_names(self, provider: Provider) -> str:
        return ", ".join(sorted(provider.extra_headers or {})) or "none"

    @admin.action(description="Take into use")
    def enable(self, request: HttpRequest, providers: "_Providers") -> None:
        providers.update(enabled=True)
        changes.announce("providers")

    @admin.action(description="Take out of use")
    def disable(self, request: HttpRequest, providers: "_Providers") -> None:
        providers.update(enabled=False)
        changes.announce("providers")


@admin.register(Route)
class RouteAdmin(ReadOnly, _RouteAdmin):
    list_display = (
        "provider",
        "method",
        "endpoint",
        "state",
        "retry_at",
        "last_outcome",
        "ttft_ms",
    )
    list_filter = ("method", "state", "last_outcome")
    list_select_related = ("provider",)
    search_fields = ("provider__name", "endpoint")


@admin.register(LanguageModel)
class LanguageModelAdmin(_LanguageModelAdmin):
    list_display = ("name", "model_id", "provider", "context", "enabled", "missing_since", "source")
    list_filter = ("enabled", "source", "provider")
    list_select_related = ("provider",)
    search_fields = ("name", "model_id")
    readonly_fields = ("provider", "model_id", "first_seen", "last_seen", "missing_since", "source")
    actions = ("enable", "disable")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Take into use")
    def enable(self, request: HttpRequest, models: "_LanguageModels") -> None:
        models.update(enabled=True)
        changes.announce("providers")

    @admin.action(description="Take out of use")
    def disable(self, request: HttpRequest, models: "_LanguageModels") -> None:
        models.update(enabled=False)
        changes.announce("providers")


@admin.register(Attempt)
class AttemptAdmin(ReadOnly, _AttemptAdmin):
    list_display = (
        "started_at",
        "provider",
        "method",
        "model_id",
        "purpose",
        "outcome",
        "status",
        "ttft_ms",
        "duration_ms",
    )
    list_filter = ("purpose", "outcome", "method", "provider")
    list_select_related = ("provider",)
    search_fields = ("request_id", "model_id", "error_code")
    date_hierarchy = "started_at"
    show_full_result_count = False
