"""Conversations in the admin: their bookkeeping alone. What people wrote is theirs."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from chat.models import Conversation, Message
from providers.admin import Estimated, one_of
from providers.domain.types import Method

if TYPE_CHECKING:
    _ConversationAdmin = admin.ModelAdmin[Conversation]
    _MessageAdmin = admin.ModelAdmin[Message]
else:
    _ConversationAdmin = _MessageAdmin = admin.ModelAdmin


class ListOnly:
    """Rows of other people: to be counted, not to be opened (their name is what was written)."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Only together with the person they belong to."""
        here = request.resolver_match
        return here is not None and (here.url_name or "").startswith("auth_user_")

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return obj is None and bool(request.user.is_staff)


@admin.register(Conversation)
class ConversationAdmin(ListOnly, _ConversationAdmin):
    list_display_links = None
    list_display = ("pk", "owner", "language_model", "created_at", "updated_at")
    list_select_related = ("owner", "language_model")
    search_fields = ("owner__username",)
    ordering = ("-pk",)  # which has an index
    paginator = Estimated
    show_full_result_count = False


@admin.register(Message)
class MessageAdmin(ListOnly, _MessageAdmin):
    list_display_links = None
    list_display = (
        "pk",
        "role",
        "status",
        "provider_name",
        "model_name",
        "method",
        "fallback",
        "ttft_ms",
        "created_at",
    )
    list_filter = ("status", "role", one_of("method", list(Method)), "fallback")
    ordering = ("-pk",)
    paginator = Estimated
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
