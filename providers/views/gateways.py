"""The gateways page: LiteLLM endpoints, the gateway process, and the routes through them.

The page renders from storage alone. Gateways without a recent check are checked by requests that
the page sends when it has loaded.
"""

from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from providers.domain.frozen import frozen
from providers.forms import GatewayForm
from providers.infra.page_request import PageRequest
from providers.models import Gateway, GatewayCheck, Route
from providers.operations import audit
from providers.policy import health
from providers.probes import gateways
from providers.probes.gateways import CHECK_FRESH, Endpoint
from providers.router import snapshot
from providers.views.access import require_staff, staff_only


@frozen
class GatewayLine:
    """A gateway with its last check and its routes."""

    endpoint: Endpoint
    routes: list[Route]
    check: GatewayCheck | None = None

    @property
    def cooling_down(self) -> list[Route]:
        return [route for route in self.routes if route.state != "closed"]

    @property
    def is_fresh(self) -> bool:
        return bool(self.check and timezone.now() - self.check.checked_at < CHECK_FRESH)

    @property
    def is_starting(self) -> bool:
        return bool(self.is_fresh and self.check and self.check.state == "starting")

    @property
    def status(self) -> str:
        if not self.endpoint.enabled:
            return "paused"
        states = [route.as_state() for route in self.routes]
        if self.check is None or not self.is_fresh or self.is_starting:
            return health.gateway_health(None, None, states)
        return health.gateway_health(self.check.state == "up", self.check.checked_at, states)


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List all gateways, from storage."""
    routes, checks = gateways.routes_by_endpoint(), gateways.last_checks()
    lines = [
        GatewayLine(endpoint=each, routes=routes.get(each.url, []), check=checks.get(each.url))
        for each in gateways.list_endpoints()
    ]
    return render(request, "gateways/index.html", {"gateways": lines})


@require_POST
async def check(request: PageRequest, key: str) -> HttpResponse:
    """Check one gateway now and store the result."""
    endpoint = await sync_to_async(_get_endpoint)(request, key)
    result = await gateways.check_endpoint(endpoint)
    if not request.htmx:
        return redirect("gateways:index")
    return await sync_to_async(_render_check)(request, endpoint, result)


def _get_endpoint(request: HttpRequest, key: str) -> Endpoint:
    """Read first, so that no database connection is held during the check."""
    try:
        require_staff(request)
        endpoint = next((each for each in gateways.list_endpoints() if each.key == key), None)
    finally:
        connections.close_all()
    if endpoint is None:
        raise Http404
    return endpoint


def _render_check(request: HttpRequest, endpoint: Endpoint, result: GatewayCheck) -> HttpResponse:
    routes = gateways.routes_by_endpoint().get(endpoint.url, [])
    line = GatewayLine(endpoint=endpoint, routes=routes, check=result)
    return render(request, "gateways/index.html#answer", {"gateway": line})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def edit(request: PageRequest, pk: int | None = None) -> HttpResponse:
    """Create or edit a gateway."""
    row = get_object_or_404(Gateway, pk=pk) if pk else None
    before = audit.values(row) if row else {}
    form = GatewayForm(request.POST or None, instance=row)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            saved = form.save()
            audit.note_changes(request.user, "changed" if row else "created", saved, before)
        snapshot.load_routes()  # creates its routes now, so that the page lists them
        follows = (
            "It is used as a fallback from the next request."
            if saved.enabled
            else "It is turned off."
        )
        messages.success(request, f"{saved.name} is saved. {follows}")
        return redirect("gateways:index")
    context: dict[str, Any] = {"form": form, "gateway": row}
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
    return render(request, "gateways/form.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def delete(request: PageRequest, pk: int) -> HttpResponse:
    """Confirm, then delete the gateway and the routes through it."""
    row = get_object_or_404(Gateway, pk=pk)
    routes = gateways.routes_by_endpoint().get(row.url, [])
    if request.method != "POST":
        return render(request, "gateways/delete.html", {"gateway": row, "routes": routes})
    with transaction.atomic():
        audit.note(request.user, "deleted", row)
        row.delete()
    messages.success(request, f"{row.name} is removed.")
    return redirect("gateways:index")


urlpatterns = [
    path("", index, name="index"),
    path("new/", edit, name="new"),
    path("<int:pk>/", edit, name="edit"),
    path("<int:pk>/delete/", delete, name="delete"),
    path("<slug:key>/check/", check, name="check"),
]
