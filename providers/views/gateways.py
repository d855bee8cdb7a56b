"""The gateways page: LiteLLM endpoints, what goes through them, and our own gateway process.

The page is made from storage alone: what a gateway said when it was asked last, and how the routes
through it do. A part that loads by itself asks those of which nothing fresh is known.
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
    """A gateway, what it said last, and the routes through it."""

    endpoint: Endpoint
    routes: list[Route]
    check: GatewayCheck | None = None

    @property
    def resting(self) -> list[Route]:
        return [route for route in self.routes if route.state != "closed"]

    @property
    def is_fresh(self) -> bool:
        return bool(self.check and timezone.now() - self.check.checked_at < CHECK_FRESH)

    @property
    def starts(self) -> bool:
        return bool(self.is_fresh and self.check and self.check.state == "starting")

    @property
    def status(self) -> str:
        if not self.endpoint.enabled:
            return "paused"
        states = [route.as_state() for route in self.routes]
        if self.check is None or not self.is_fresh or self.starts:
            return health.gateway_health(None, None, states)
        return health.gateway_health(self.check.state == "up", self.check.checked_at, states)


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All of them, from storage."""
    through, said = gateways.routes_by_endpoint(), gateways.last_checks()
    shown = [
        GatewayLine(endpoint=each, routes=through.get(each.url, []), check=said.get(each.url))
        for each in gateways.list_endpoints()
    ]
    return render(request, "gateways/index.html", {"gateways": shown})


@require_POST
async def check(request: PageRequest, key: str) -> HttpResponse:
    """Asks one gateway now and keeps what it says; without htmx the page shows it."""
    endpoint = await sync_to_async(_endpoint)(request, key)
    said = await gateways.check_endpoint(endpoint)
    if not request.htmx:
        return redirect("gateways:index")
    return await sync_to_async(_answer)(request, endpoint, said)


def _endpoint(request: HttpRequest, key: str) -> Endpoint:
    """Read at once, so that no connection is held while the gateway is asked."""
    try:
        require_staff(request)
        found = next((each for each in gateways.list_endpoints() if each.key == key), None)
    finally:
        connections.close_all()
    if found is None:
        raise Http404
    return found


def _answer(request: HttpRequest, endpoint: Endpoint, said: GatewayCheck) -> HttpResponse:
    routes = gateways.routes_by_endpoint().get(endpoint.url, [])
    shown = GatewayLine(endpoint=endpoint, routes=routes, check=said)
    return render(request, "gateways/index.html#answer", {"gateway": shown})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def edit(request: PageRequest, pk: int | None = None) -> HttpResponse:
    """A new gateway, or one that is there."""
    row = get_object_or_404(Gateway, pk=pk) if pk else None
    before = audit.values(row) if row else {}
    form = GatewayForm(request.POST or None, instance=row)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            saved = form.save()
            audit.noted(request.user, "changed" if row else "created", saved, before)
        snapshot.load_routes()  # makes its routes now, so that the page shows them
        follows = (
            "It is used as a fallback from the next request on."
            if saved.enabled
            else "It is not in use."
        )
        messages.success(request, f"{saved.name} is saved. {follows}")
        return redirect("gateways:index")
    context: dict[str, Any] = {"form": form, "gateway": row}
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
    return render(request, "gateways/form.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def delete(request: PageRequest, pk: int) -> HttpResponse:
    """Asks, saying what goes through it, then removes it and the routes over it."""
    row = get_object_or_404(Gateway, pk=pk)
    through = gateways.routes_by_endpoint().get(row.url, [])
    if request.method != "POST":
        return render(request, "gateways/delete.html", {"gateway": row, "routes": through})
    with transaction.atomic():
        audit.note(request.user, "deleted", row)
        row.delete()
    messages.success(request, f"{row.name} is removed: nothing goes through it any more.")
    return redirect("gateways:index")


urlpatterns = [
    path("", index, name="index"),
    path("new/", edit, name="new"),
    path("<int:pk>/", edit, name="edit"),
    path("<int:pk>/delete/", delete, name="delete"),
    path("<slug:key>/check/", check, name="check"),
]
