"""The list of providers by keyboard alone, while one of them hangs on every request."""

import socket
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, expect

from providers.models import Provider
from tests import fakes
from tests.e2e.people import QUICK_MS, connect
from tests.e2e.site import Site
from tests.e2e.test_look import look

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_providers_are_ordered_and_found_by_keyboard(
    site: Site, new_context: Callable[..., BrowserContext], fake: fakes.Upstream
) -> None:
    """The focus stays on the button that moved; the list asks nobody, so it is there at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        connect(fake.url, name="Beta", slug="beta")
        page = new_context().new_page()
        page.goto("/providers/", timeout=QUICK_MS)
        titles = page.locator("#cards h2")
        expect(titles).to_have_text(["Acme", "Beta"])
        page.locator("#more-acme").focus()
        page.keyboard.press("Enter")
        page.locator("#down-acme").focus()
        page.keyboard.press("Enter")
        expect(titles).to_have_text(["Beta", "Acme"])
        expect(page.locator("#down-acme")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#menu-acme")).to_be_hidden()
        page.locator("#find").focus()
        page.keyboard.type("bet")
        expect(titles).to_have_text(["Beta"])
        Provider.objects.filter(slug="beta").update(health_status="failing")
        expect(page.locator("#card-beta .status")).to_have_text("Failing")
        expect(titles).to_have_text(["Beta"])


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_who_stands_in_is_found_by_typing(
    site: Site,
    new_context: Callable[..., BrowserContext],
    fake: fakes.Upstream,
    scheme: Literal["light", "dark"],
    width: int,
) -> None:
    """What is ticked stays seen; Enter saves nothing."""
    connect(fake.url)
    for n in range(50):
        address = f"http://127.0.0.1:9/{n}"
        Provider.objects.create(name=f"Spare {n:02}", slug=f"s{n}", base_url=address, enabled=False)
    viewport = {"width": width, "height": 800}
    page = new_context(color_scheme=scheme, viewport=viewport).new_page()
    page.goto("/providers/acme/")
    boxes = page.locator("#id_alternatives > div")
    expect(boxes.filter(visible=True)).to_have_count(50)
    page.get_by_label("Spare 07").check()
    finder = page.get_by_label("Find a provider")
    finder.fill("spare 41")
    expect(boxes.filter(visible=True)).to_have_count(2)
    finder.press("Enter")
    expect(boxes.filter(visible=True)).to_have_count(2)
    look(page, "stands-in", scheme, width)
