"""The test of one model: whether it answers and which parameters it takes.

It sends a handful of paid requests, so it runs only on request, with the cost shown before.
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

# Of one request, rounded up: tool definitions count as input.
_LARGEST_USAGE = Usage(input_tokens=100, output_tokens=16)


@require_http_methods(["GET", "HEAD", "POST"])
async def run(request: PageRequest, slug: str, pk: int) -> HttpResponse | StreamingHttpResponse:
    """Describe the test; on POST run it, streamed to htmx."""
    panel, page = await sync_to_async(_open)(request, slug, pk)
    if request.method != "POST" or panel is None or panel.draft is None:
        return await sync_to_async(render)(request, "providers/model_test.html", page)
    stages = partial(runner.run, ModelTest(draft=panel.draft, method=panel.methods[0]))
    if request.htmx:
        return test_panel.stream_test(panel, stages)
    await test_panel.run_test(panel, stages)
    page |= {**test_panel.context(panel), "verdict": panel.verdict()}
    return await sync_to_async(render)(request, "providers/model_test.html", page)


def _open(request: HttpRequest, slug: str, pk: int) -> tuple[TestPanel | None, dict[str, object]]:
    """Check permission and read storage first: the test holds no database connection."""
    try:
        require_staff(request)
        models = LanguageModel.objects.present().select_related("provider")
        model = get_object_or_404(models, pk=pk, provider__slug=slug)
        candidate = snapshot.load_candidate(model.provider_id, model.model_id)
        method = _pick_method(request.POST.get("method", ""), candidate)
        return _build_panel(model, candidate, method), _page_context(model, candidate, method)
    finally:
        connections.close_all()


def _pick_method(requested: str, candidate: Candidate | None) -> Method:
    """The method of the form, else the one that requests use now."""
    if requested in set(Method):
        return Method(requested)
    plan = candidate.plan(timezone.now()) if candidate else None
    return plan.routes[0].route.method if plan and plan.routes else Method.DIRECT


def _build_panel(
    model: LanguageModel, candidate: Candidate | None, method: Method
) -> TestPanel | None:
    if candidate is None:
        return None
    return TestPanel(
        draft=Draft(connection=candidate.connection, model_id=model.model_id, stored=candidate),
        element_id="test",
        fix_url=reverse("providers:apply-fix", args=[model.provider.slug]),
        methods=(method,),
        names=MODEL_STAGES,
        good="The model answers",
    )


def _page_context(
    model: LanguageModel, candidate: Candidate | None, method: Method
) -> dict[str, object]:
    connection = snapshot.connection(model.provider)
    parameters = tested_parameters(connection.preset, connection.kind)
    price = Prices.of(vars(model)).cost(_LARGEST_USAGE)
    return {
        "model": model,
        "provider": model.provider,
        "parameters": parameters,
        "calls": 1 + len(parameters),
        "max_cost": price * (1 + len(parameters)) if isinstance(price, Decimal) else None,
        "methods": [(each.value, test_panel.TITLES[each]) for each in Method],
        "method": method.value,
        "is_usable": candidate is not None,
    }
