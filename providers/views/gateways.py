"""The gateways page: LiteLLM endpoints, what goes through them, and our own gateway process.

The page is made from storage alone; a gateway itself is asked by a part that loads by itself.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from providers import audit, endpoints
from providers.endpoints import Endpoint
from providers.forms import GatewayForm
from providers.models import Gateway, Route
from providers.views.access import Request, require_staff, staff_only


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A gateway and the routes through it. `status` is derived from them, as everywhere."""

    endpoint: Endpoint
    routes: list[Route]

    @property
    def resting(self) -> list[Route]:
        return [route for route in self.routes if route.state != "closed"]

    @property
    def status(self) -> str:
        if not self.endpoint.enabled:
            return "paused"
        if not any(route.last_outcome_at for route in self.routes):
            return "unknown"
        if not self.resting:
            return "healthy"
        return "failing" if len(self.resting) == len(self.routes) else "degraded"


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All of them; the newest state of their routes."""
    through = endpoints.routes()
    shown = [Shown(endpoint=e, routes=through.get(e.url, [])) for e in endpoints.known()]
    return render(request, "gateways/index.html", {"gateways": shown})


@require_GET
async def look(request: Request, key: str) -> HttpResponse:
    """Asks one gateway now; alone for htmx, else a page of its own."""
    endpoint = await sync_to_async(_endpoint)(request, key)
    seen = await endpoints.look(endpoint)
    context = {"endpoint": endpoint, "look": seen}
    template = "gateways/look.html" + ("#look" if request.htmx else "")
    return await sync_to_async(render)(request, template, context)


def _endpoint(request: HttpRequest, key: str) -> Endpoint:
    """Read at once, so that no connection is held while the gateway is asked."""
    try:
        require_staff(request)
        found = next((each for each in endpoints.known() if each.key == key), None)
    finally:
        connections.close_all()
    if found is None:
        raise Http404
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def edit(request: Request, pk: int | None = None) -> HttpResponse:
    """A new gateway, or one that is there."""
    row = get_object_or_404(Gateway, pk=pk) if pk else None
    before = audit.values(row) if row else {}
    form = GatewayForm(request.POST or None, instance=row)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            saved = form.save()
            audit.noted(request.user, "changed" if row else "created", saved, before)
        messages.success(request, f"{saved.name} is saved. It stands in from the next request on.")
        return redirect("gateways:index")
    context: dict[str, Any] = {"form": form, "gateway": row}
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
    return render(request, "gateways/form.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def delete(request: Request, pk: int) -> HttpResponse:
    """Asks, saying what goes through it, then removes it and the routes over it."""
    row = get_object_or_404(Gateway, pk=pk)
    through = endpoints.routes().get(row.url, [])
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
    path("<slug:key>/look/", look, name="look"),
]
