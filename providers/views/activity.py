"""The activity log and the trace of one request, from storage alone.

Attempts are written a moment after they ended: a trace opened at once looks again by itself.
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

SETTLING = timedelta(seconds=8)  # after which no further attempt is expected to be written
LOOKS = 5  # how often a trace looks again, a second or more apart


@require_safe
def index(request: PageRequest) -> HttpResponse:
    """The log's newest page, or the one beside a mark; for htmx the list alone."""
    form = FilterForm(request.GET, request.user)
    marks = {name: _mark(request.GET.get(name, "")) for name in ("before", "after")}
    page = activity.page(request.user, form.filters(), **marks)
    query = urlencode(form.given())
    ctx = {"form": form, "page": page, "query": query, "at_mark": any(marks.values())}
    if not request.htmx or request.htmx.history_restore_request:
        return render(request, "activity/index.html", ctx)
    response = render(request, "activity/index.html#requests", ctx)
    return push_url(response, f"{reverse('activity:index')}{'?' if query else ''}{query}")


def _mark(text: str) -> Mark | None:
    """None for a mark that nobody gave out: the newest page is shown."""
    try:
        return Mark.parse(text) if text else None
    except ValueError:
        return None


@require_safe
def show(request: PageRequest, request_id: UUID) -> HttpResponse:
    """One request's trace; 404 where there is none for this person, or none yet."""
    found = activity.request(request.user, request_id)
    again = _again(request.GET.get("look", ""), found)
    ctx: dict[str, Any] = {"request_id": request_id, "found": found, "again": again}
    if found:
        ctx["steps"] = trace.build_timeline(found, in_container=in_container())
        if found.first.purpose in activity.OWN and found.first.model_id:
            ctx["curl"] = trace.build_curl_command(request.build_absolute_uri("/v1"), found.first)
    template = "activity/trace.html#body" if request.htmx else "activity/trace.html"
    return render(request, template, ctx, status=200 if found else 404)


def _again(look: str, found: trace.RequestTrace | None) -> int:
    """The number of the next look; 0 where all there is to see is seen."""
    done = int(look) if look.isdecimal() and len(look) < 3 else 0
    fresh = found is None or timezone.now() - found.ended_at < SETTLING
    return done + 1 if fresh and done < LOOKS else 0


urlpatterns = [
    path("", index, name="index"),
    path("<uuid:request_id>/", show, name="trace"),
]
