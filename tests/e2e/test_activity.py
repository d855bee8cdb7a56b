"""From an answer to its trace, and a trace that is opened before it is written."""

from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests import fakes
from tests.e2e.people import ask, connect, wait_status
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_a_rescued_answer_leads_to_its_trace(site: Site, page: Page, fake: fakes.Upstream) -> None:
    """One click on the chip, one on the link: the failed route, the one that answered, and why."""
    connect("http://127.0.0.1:9/v1", fake.url)
    ask(page, "Hello?")
    wait_status(page, "done")
    page.locator("summary.chip").click()
    page.get_by_role("link", name="View trace").click()
    steps = page.locator(".steps > li")
    expect(steps).to_have_count(2)
    expect(steps.first).to_contain_text("Network error")
    expect(steps.last).to_contain_text("Answered")
    expect(page.get_by_role("heading", name="Routing decision").locator("..")).to_contain_text(
        "fallback"
    )


def test_a_trace_completes_itself(site: Site, page: Page) -> None:
    """Nothing yet, then the first attempt, then the second: without a reload."""
    acme = connect("http://127.0.0.1:9/v1")
    request_id = uuid4()
    page.goto(f"/activity/{request_id}/")
    expect(page.locator("#trace")).to_contain_text("Checking again")
    page.evaluate("window.kept = true")
    tried = {"request_id": request_id, "purpose": "chat", "model_id": "echo", "duration_ms": 5}
    acme.attempts.create(method="direct", outcome="network", **tried)
    expect(page.locator(".steps > li")).to_have_count(1)
    acme.attempts.create(method="gateway", outcome="ok", position=2, **tried)
    expect(page.locator(".steps > li")).to_have_count(2)
    assert page.evaluate("window.kept")
