"""The activity log and the trace of one request, from storage alone.

Attempts are written a moment after they end, so a fresh trace reloads itself a few times.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe
from django_htmx.http import push_url

from providers.diagnosis import trace
from providers.forms.filters import FilterForm
from providers.infra.page_request import PageRequest
from providers.operations import activity
from providers.operations.activity import Mark
from providers.views.test_panel import in_container

FRESH_FOR = timedelta(seconds=8)  # later, no further attempt is expected
MAX_RELOADS = 5  # of a fresh trace, each more than a second apart


@require_safe
def index(request: PageRequest) -> HttpResponse:
    """Show the newest page, or the page before or after a mark; for htmx, the list alone."""
    form = FilterForm(request.GET, request.user)
    marks = {name: _parse_mark(request.GET.get(name, "")) for name in ("before", "after")}
    page = activity.page(request.user, form.filters(), **marks)
    query = urlencode(form.entered_values())
    ctx = {"form": form, "page": page, "query": query, "at_mark": any(marks.values())}
    if not request.htmx or request.htmx.history_restore_request:
        return render(request, "activity/index.html", ctx)
    response = render(request, "activity/index.html#requests", ctx)
    return push_url(response, f"{reverse('activity:index')}{'?' if query else ''}{query}")


def _parse_mark(text: str) -> Mark | None:
    """Return None for an invalid mark: the newest page is shown."""
    try:
        return Mark.parse(text) if text else None
    except ValueError:
        return None


@require_safe
def show(request: PageRequest, request_id: UUID) -> HttpResponse:
    """Show one request's trace; 404 if it does not exist, yet or for this user."""
    traced = activity.request(request.user, request_id)
    reload_number = _next_reload(request.GET.get("reload", ""), traced)
    ctx: dict[str, Any] = {
        "request_id": request_id,
        "traced": traced,
        "reload_number": reload_number,
    }
    if traced:
        ctx["steps"] = trace.build_timeline(traced, in_container=in_container())
        if traced.first.purpose in activity.OWN and traced.first.model_id:
            ctx["curl"] = trace.build_curl_command(request.build_absolute_uri("/v1"), traced.first)
    template = "activity/trace.html#body" if request.htmx else "activity/trace.html"
    return render(request, template, ctx, status=200 if traced else 404)


def _next_reload(number: str, traced: trace.RequestTrace | None) -> int:
    """The number of the next reload; 0 if the trace is complete or was reloaded often enough."""
    done = int(number) if number.isdecimal() and len(number) < 3 else 0
    is_fresh = traced is None or timezone.now() - traced.ended_at < FRESH_FOR
    return done + 1 if is_fresh and done < MAX_RELOADS else 0


urlpatterns = [
    path("", index, name="index"),
    path("<uuid:request_id>/", show, name="trace"),
]
