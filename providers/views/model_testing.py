"""The test of one model: what it answers and what it takes, with its cost said before.

A page of its own: it costs a handful of short chats, so it is asked for, never run by itself.
"""

from decimal import Decimal
from functools import partial

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from providers.connection_test import runner
from providers.connection_test.draft import Draft
from providers.connection_test.model_test import ModelTest, tested_parameters
from providers.connection_test.stages import MODEL_STAGES
from providers.domain.prices import Prices
from providers.domain.types import Method, Usage
from providers.infra.page_request import PageRequest
from providers.models import LanguageModel
from providers.router import snapshot
from providers.router.snapshot import Candidate
from providers.views import test_panel
from providers.views.access import require_staff
from providers.views.test_panel import TestPanel

# Of one chat, generously: its tools count as words too.
_LARGEST = Usage(input_tokens=100, output_tokens=16)


@require_http_methods(["GET", "HEAD", "POST"])
async def run(request: PageRequest, slug: str, pk: int) -> HttpResponse | StreamingHttpResponse:
    """The page that says what a test does; then the test, streamed to htmx."""
    found, page = await sync_to_async(_open)(request, slug, pk)
    if request.method != "POST" or found is None or found.draft is None:
        return await sync_to_async(render)(request, "providers/model_test.html", page)
    stages = partial(runner.run, ModelTest(draft=found.draft, method=found.methods[0]))
    if request.htmx:
        return test_panel.streamed(found, stages)
    await test_panel.finished(found, stages)
    page |= {**test_panel.context(found), "verdict": found.verdict()}
    return await sync_to_async(render)(request, "providers/model_test.html", page)


def _open(request: HttpRequest, slug: str, pk: int) -> tuple[TestPanel | None, dict[str, object]]:
    """Checks who asks and reads what is stored; afterwards no connection is held."""
    try:
        require_staff(request)
        models = LanguageModel.objects.present().select_related("provider")
        model = get_object_or_404(models, pk=pk, provider__slug=slug)
        candidate = snapshot.load_one(model.provider_id, model.model_id)
        method = _method(request.POST.get("method", ""), candidate)
        return _sheet(model, candidate, method), _page(model, candidate, method)
    finally:
        connections.close_all()


def _method(asked: str, candidate: Candidate | None) -> Method:
    """The route that was picked, else the one that requests take now."""
    if asked in set(Method):
        return Method(asked)
    plan = candidate.plan(timezone.now()) if candidate else None
    return plan.routes[0].route.method if plan and plan.routes else Method.DIRECT


def _sheet(model: LanguageModel, candidate: Candidate | None, method: Method) -> TestPanel | None:
    if candidate is None:
        return None
    return TestPanel(
        draft=Draft(connection=candidate.connection, model_id=model.model_id, stored=candidate),
        panel="test",
        fix_url=reverse("providers:apply-fix", args=[model.provider.slug]),
        methods=(method,),
        names=MODEL_STAGES,
        good="It answers",
    )


def _page(model: LanguageModel, candidate: Candidate | None, method: Method) -> dict[str, object]:
    connection = snapshot.connection(model.provider)
    asked = tested_parameters(connection.preset, connection.kind)
    price = Prices.of(vars(model)).cost(_LARGEST)
    return {
        "model": model,
        "provider": model.provider,
        "parameters": asked,
        "calls": 1 + len(asked),
        "most": price * (1 + len(asked)) if isinstance(price, Decimal) else None,
        "methods": [(each.value, test_panel.TITLES[each]) for each in Method],
        "method": method.value,
        "askable": candidate is not None,
    }
