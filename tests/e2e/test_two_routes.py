"""A failing route is left for the other one, and the page says so."""

import pytest
from playwright.sync_api import Page

from providers.models import Attempt, Route
from tests import fakes
from tests.e2e.people import answer, ask, connect, wait_status
from tests.e2e.site import Site
from tests.polling import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def nowhere() -> str:
    return f"http://127.0.0.1:{fakes.refusing_port()}/v1"


def test_direct_refused_the_gateway_answers(site: Site, page: Page, fake: fakes.Upstream) -> None:
    """One message, an amber chip with the reason, both attempts recorded."""
    connect(nowhere(), fake.url)
    page.goto("/chat/new/")
    ask(page, "Are you there?", "echo")
    wait_status(page, "done")
    assert answer(page) == "Are you there?"
    assert page.locator("[data-role=assistant]").count() == 1
    chip = page.locator(".chip")
    assert chip.get_attribute("data-tone") == "amber"
    assert "via gateway" in chip.inner_text()
    chip.click()
    assert "direct failed (" in page.locator(".chip-more").inner_text()
    rows = Attempt.objects.order_by("pk").values_list("method", "error_code")
    assert list(rows) == [("direct", "connect_refused"), ("gateway", "")]


def test_gateway_down_direct_answers(site: Site, page: Page, fake: fakes.Upstream) -> None:
    """Likewise, the other way round."""
    connect(fake.url, nowhere(), prefer_direct=False)
    ask(page, "And you?", "echo")
    wait_status(page, "done")
    assert answer(page) == "And you?"
    assert "via direct" in page.locator(".chip").inner_text()
    assert page.locator(".chip").get_attribute("data-tone") == "amber"


def test_shows_each_failed_route_and_keeps_the_text(site: Site, page: Page) -> None:
    """With what to do, and a way to try again."""
    connect(nowhere(), nowhere())
    ask(page, "Anybody?", "echo")
    wait_status(page, "failed")
    routes = page.locator(".error-routes").inner_text()
    assert "Direct" in routes
    assert "Gateway" in routes
    assert page.input_value("#prompt") == "Anybody?"
    assert page.get_by_role("button", name="Try again").is_visible()


def test_try_again_after_a_failure_answers_in_place(
    site: Site, page: Page, fake: fakes.Upstream
) -> None:
    """The error is replaced by the answer."""
    connect(fake.url, fake.url)
    fake.stop()
    ask(page, "Once more", "echo")
    wait_status(page, "failed")
    fake.start()
    Route.objects.update(state="closed", retry_at=None)
    page.get_by_role("button", name="Try again").click()
    wait_status(page, "done", 12)
    assert answer(page) == "Once more"


def test_after_the_first_token_the_text_is_kept_and_marked(
    site: Site, page: Page, fake: fakes.Upstream
) -> None:
    """No silent switch."""
    connect(fake.url, fake.url, models=("cut-mid",))
    ask(page, "Go", "cut-mid")
    wait_status(page, "interrupted")
    assert "One two three" in answer(page)
    wait_until(lambda: Attempt.objects.count() == 1)
