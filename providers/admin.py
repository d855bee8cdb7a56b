"""Django admin for operators: shows every row, never a key; attempts are read-only."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.db.models import ManyToManyField, Model, Q, QuerySet
from django.forms import CheckboxSelectMultiple
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html

from providers.catalog import merge
from providers.domain.errors import ErrorKind
from providers.domain.types import Method
from providers.forms import GatewayForm
from providers.infra import replicas
from providers.infra.encrypted_fields import mask
from providers.models import (
    Attempt,
    AuditEvent,
    Gateway,
    LanguageModel,
    Provider,
    Route,
    VirtualMember,
    VirtualModel,
)
from providers.models.route import RouteQuerySet
from providers.operations import audit, lifecycle, virtual_members
from providers.views.access import enqueue_task

if TYPE_CHECKING:
    _AnyAdmin = admin.ModelAdmin[Any]
    _ProviderAdmin = admin.ModelAdmin[Provider]
    _RouteAdmin = admin.ModelAdmin[Route]
    _LanguageModelAdmin = admin.ModelAdmin[LanguageModel]
    _AttemptAdmin = admin.ModelAdmin[Attempt]
    _GatewayAdmin = admin.ModelAdmin[Gateway]
    _VirtualModelAdmin = admin.ModelAdmin[VirtualModel]
    _Members = admin.TabularInline[VirtualMember, VirtualModel]
    _Providers = QuerySet[Provider]
    _LanguageModels = QuerySet[LanguageModel]
else:
    _AnyAdmin = admin.ModelAdmin
    _ProviderAdmin = _RouteAdmin = _LanguageModelAdmin = _AttemptAdmin = admin.ModelAdmin
    _GatewayAdmin = _VirtualModelAdmin = admin.ModelAdmin
    _Members = admin.TabularInline


class ReadOnly:
    """Rows that the program writes; read-only here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class Audited(_AnyAdmin):
    """Writes an audit event for each change."""

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        stored = type(obj)._default_manager.filter(pk=obj.pk).first() if change else None
        form.before = audit.values(stored) if stored else {}
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Writes the event here, because relations are saved after the row itself."""
        super().save_related(request, form, formsets, change)
        verb = "changed" if change else "created"
        audit.note_changes(_person(request), verb, form.instance, form.before)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        audit.note(_person(request), "deleted", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            audit.note(_person(request), "deleted", row)
        super().delete_queryset(request, queryset)
        replicas.publish("providers")

    def switch(self, request: HttpRequest, queryset: QuerySet[Any], *, enabled: bool) -> None:
        """Enables or disables the chosen rows."""
        with transaction.atomic():
            for row in queryset.exclude(enabled=enabled):
                audit.note(_person(request), "enabled" if enabled else "disabled", row)
            queryset.update(enabled=enabled)
            replicas.publish("providers")


def _person(request: HttpRequest) -> User:
    return cast(User, request.user)


def one_of(column: str, values: Sequence[str]) -> type[admin.SimpleListFilter]:
    """A filter with fixed values: a query for distinct ones is slow with millions of rows."""

    class OneOf(admin.SimpleListFilter):
        title = parameter_name = column

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(str(value), str(value).replace("_", " ")) for value in values]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{column: self.value()}) if self.value() else queryset

    return OneOf


class Estimated(Paginator):  # type: ignore[type-arg]
    """Pagination with an estimated count: an exact one takes seconds with millions of rows."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        if not rows.query.where:
            with connection.cursor() as cursor:
                table = rows.model._meta.db_table
                cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
                if (estimate := int(cursor.fetchone()[0])) > self.MOST:
                    return estimate
        return rows.order_by()[: self.MOST].count()


@admin.register(Provider)
class ProviderAdmin(Audited, _ProviderAdmin):
    """Base URLs and keys are changed on the provider's page, which also resets its routes."""

    list_display = ("name", "base_url", "routing_method", "health_status", "enabled", "key")
    list_filter = ("health_status", "routing_method", "provider_type", "enabled", "preset")
    search_fields = ("name", "slug", "base_url")
    exclude = ("api_key", "extra_headers", "gateway_api_key", "created_by")
    # Django's own widgets for many of them have no names for screen readers.
    formfield_overrides = {ManyToManyField: {"widget": CheckboxSelectMultiple}}
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
        "models_unread",
        "created_at",
    )
    actions = ("pause", "resume", "remove", "test", "refresh_models")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False  # `remove` marks it instead, so that it can be restored

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """A resumed provider is checked at once, as by lifecycle.resume."""
        if "enabled" in form.changed_data and form.cleaned_data["enabled"]:
            form.instance.next_check_at = timezone.now()
        super().save_model(request, obj, form, change)
        replicas.publish("routes")

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, providers: "_Providers") -> None:
        self._each(request, "paused", providers.filter(enabled=True), lifecycle.pause)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, providers: "_Providers") -> None:
        self._each(request, "resumed", providers.filter(enabled=False), lifecycle.resume)

    @admin.action(description="Remove (can be restored)", permissions=["change"])
    def remove(self, request: HttpRequest, providers: "_Providers") -> None:
        self._each(request, "removed", providers, lifecycle.remove)
        days, page = settings.KEEP_REMOVED, reverse("providers:index")
        words = "They can be restored for {} days, on <a href='{}'>the providers page</a>."
        self.message_user(request, format_html(words, days, page))

    def _each(
        self,
        request: HttpRequest,
        verb: str,
        providers: "_Providers",
        act: Callable[[Provider], None],
    ) -> None:
        """Applies the operation to one provider after the other, each with its audit event."""
        rows = list(providers)
        with transaction.atomic():
            for provider in rows:
                before = audit.values(provider)
                act(provider)
                audit.note_changes(_person(request), verb, provider, before)
        names = ", ".join(provider.name for provider in rows) or "none; they already were"
        self.message_user(request, f"{verb.capitalize()}: {names}.")

    @admin.action(description="Check now and fetch models")
    def test(self, request: HttpRequest, providers: "_Providers") -> None:
        self._send(request, providers, "providers.tasks.look_over")

    @admin.action(description="Fetch models")
    def refresh_models(self, request: HttpRequest, providers: "_Providers") -> None:
        self._send(request, providers, "providers.tasks.refresh")

    def _send(self, request: HttpRequest, providers: "_Providers", task: str) -> None:
        sent = [enqueue_task(task, provider.pk) for provider in providers]
        words = f"{sum(sent)} of {len(sent)} sent to the worker. Results appear in a moment."
        self.message_user(request, words, messages.SUCCESS if all(sent) else messages.ERROR)

    @admin.display(description="API key")
    def key(self, provider: Provider) -> str:
        return provider.masked_key or "none"

    @admin.display(description="Gateway key")
    def gateway_key(self, provider: Provider) -> str:
        return mask(provider.gateway_api_key) or "none"

    @admin.display(description="Extra headers")
    def header_names(self, provider: Provider) -> str:
        return ", ".join(sorted(provider.extra_headers or {})) or "none"


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
    list_filter = ("method", "state", one_of("last_outcome", ("ok", *ErrorKind)))
    list_select_related = ("provider",)
    search_fields = ("provider__name", "endpoint")
    actions = ("reset_breaker",)

    @admin.action(description="Reset breaker", permissions=["view"])
    def reset_breaker(self, request: HttpRequest, routes: "QuerySet[Route]") -> None:
        """Closes it and resets the count of failures."""
        for route in routes:
            audit.note(_person(request), "reset the breaker", route)
        cast(RouteQuerySet, routes).forget()
        replicas.publish("routes")


@admin.register(LanguageModel)
class LanguageModelAdmin(Audited, _LanguageModelAdmin):
    list_display = ("name", "model_id", "provider", "context", "enabled", "missing_since", "source")
    list_filter = ("enabled", "source", "provider")
    list_select_related = ("provider",)
    search_fields = ("name", "model_id")
    readonly_fields = (
        *("provider", "model_id", "first_seen", "last_seen", "missing_since", "source", "sources"),
    )
    actions = ("enable", "disable")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """A fact edited here is kept, whatever the provider's list says later."""
        model = cast(LanguageModel, obj)
        written = {name: merge.HAND for name in merge.FACTS if name in form.changed_data}
        model.sources = {**model.sources, **written}
        super().save_model(request, obj, form, change)

    @admin.action(description="Enable")
    def enable(self, request: HttpRequest, models: "_LanguageModels") -> None:
        self.switch(request, models, enabled=True)

    @admin.action(description="Disable")
    def disable(self, request: HttpRequest, models: "_LanguageModels") -> None:
        self.switch(request, models, enabled=False)


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
    list_filter = (
        "purpose",
        one_of("outcome", ["ok", *ErrorKind]),
        one_of("method", list(Method)),
        "provider",
    )
    list_select_related = ("provider",)
    # An upstream may repeat a prompt in its message; `reason` was made of one in older rows.
    exclude = ("error_message", "reason")
    search_fields = ("model_id",)  # shows the field; see get_search_results
    search_help_text = "Search by request id, or by a complete model id or error code."
    paginator = Estimated
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count every value

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Attempt], search_term: str
    ) -> tuple[QuerySet[Attempt], bool]:
        """Only exact matches, which an index can find: the table may have millions of rows."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(request_id=UUID(term)), False
        except ValueError:
            return queryset.filter(Q(model_id=term) | Q(error_code=term)), False


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly, _AnyAdmin):
    """Who changed what, newest first."""

    list_display = ("at", "username", "verb", "kind", "subject", "fields_changed")
    list_filter = ("kind", "verb")
    search_fields = ("=username", "subject")
    paginator = Estimated
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count every value

    @admin.display(description="Changes")
    def fields_changed(self, event: AuditEvent) -> str:
        changes = (
            f"{name}: {was or '-'} -> {now or '-'}" for name, (was, now) in event.changes.items()
        )
        return "; ".join(changes)


@admin.register(Gateway)
class GatewayAdmin(Audited, _GatewayAdmin):
    """Further LiteLLM endpoints: fallbacks for every provider whose own routes fail."""

    form = GatewayForm
    fields = ("name", "address", "new_key", "key", "enabled")
    readonly_fields = ("key",)
    list_display = ("name", "url", "key", "enabled")
    list_filter = ("enabled",)
    search_fields = ("name", "url")

    @admin.display(description="Stored key")
    def key(self, gateway: Gateway) -> str:
        return mask(gateway.api_key) or "none"


class MembersInline(_Members):
    """The members of a virtual model, each by the id of its language model."""

    model = VirtualMember
    raw_id_fields = ("model",)
    extra = 0


@admin.register(VirtualModel)
class VirtualModelAdmin(Audited, _VirtualModelAdmin):
    """One name that several models serve."""

    fields = ("name", "strategy", "description", "notes", "enabled")
    inlines = (MembersInline,)
    list_display = ("name", "strategy", "enabled")
    list_filter = ("strategy", "enabled")
    search_fields = ("name", "description")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Write an event for changed members too: they are rows of their own."""
        before = virtual_members.describe_members(form.instance)
        super().save_related(request, form, formsets, change)
        virtual_members.note_change(_person(request), form.instance, before)
