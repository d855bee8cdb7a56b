"""Client keys in the admin: their owners and last use, never the keys themselves."""

from typing import TYPE_CHECKING, cast

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from api.keys.lifecycle import revoke_keys
from api.models import ClientKey
from providers.operations import audit

if TYPE_CHECKING:
    _ClientKeyAdmin = admin.ModelAdmin[ClientKey]
else:
    _ClientKeyAdmin = admin.ModelAdmin


@admin.register(ClientKey)
class ClientKeyAdmin(_ClientKeyAdmin):
    """Keys are created and changed on the Connect page; the admin finds and revokes them."""

    list_display = ("name", "user", "prefix", "created_at", "last_used_at", "revoked_at")
    list_filter = ("is_locked", "revoked_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    exclude = ("hash", "previous_hash")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Keys are deleted only together with their owner."""
        match = request.resolver_match
        return match is not None and (match.url_name or "").startswith("auth_user_")

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ClientKey]) -> None:
        for key in queryset.filter(revoked_at=None):
            audit.note(cast(User, request.user), "revoked", key)
        revoke_keys(queryset.values_list("pk", flat=True))
