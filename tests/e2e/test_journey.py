"""The whole way of somebody who has never seen the product, with a mouse and by keyboard alone.

With SCREENSHOTS=folder in the environment each step is also saved there, to be looked at.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from opencode_web.launcher import setup
from providers.models import Provider
from tests import fakes
from tests.e2e.people import answer, wait_status
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]
MOST_TABS = 80  # keys between two things of one page; more is a way that nobody goes

# Whether an element has the focus; whether a ring or the like shows what has it; whether it is
# before what has it.
HAS_FOCUS = "e => e === document.activeElement"
SHOWS_FOCUS = """() => {
    const e = document.activeElement;
    const box = e.closest('.card.link, .composer, .segments label') ?? e;
    return e === document.body || [e, box].some(each => {
        const style = getComputedStyle(each);
        return style.outlineStyle !== 'none' || style.boxShadow !== 'none';
    });
}"""
IS_BEFORE = """e => Boolean(
    document.activeElement.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_PRECEDING)"""


class Mouse:
    """Clicks, and types where it clicked."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, wanted: Locator) -> None:
        wanted.click()

    def write(self, wanted: Locator, text: str) -> None:
        wanted.fill(text)


class Keyboard:
    """Tab, Shift-Tab, Enter, Space, letters: it reaches only what has the focus."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, wanted: Locator) -> None:
        self._reach(wanted)
        self._page.keyboard.press("Enter" if wanted.evaluate("e => e.matches('a')") else "Space")

    def write(self, wanted: Locator, text: str) -> None:
        self._reach(wanted)
        self._page.keyboard.press("Control+a")
        self._page.keyboard.type(text)

    def _reach(self, wanted: Locator) -> None:
        wanted.wait_for()
        key = "Shift+Tab" if wanted.evaluate(IS_BEFORE) else "Tab"
        for _ in range(MOST_TABS):
            if wanted.evaluate(HAS_FOCUS):
                return
            self._page.keyboard.press(key)
            shown = self._page.evaluate(SHOWS_FOCUS)
            assert shown, f"on the way to {wanted} nothing shows the focus"
        raise AssertionError(f"{wanted} is not reached with {MOST_TABS} times {key}")


Hands = type[Mouse] | type[Keyboard]


@pytest.fixture
def visitor(chromium: Browser, site: Site) -> Iterator[Page]:
    """Somebody whom the site does not know; nothing on their way breaks the page's own policy."""
    problems: list[str] = []
    context = chromium.new_context(base_url=site.url)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on(
        "console", lambda said: problems.append(said.text) if "Policy" in said.text else None
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()
    # Playwright's own style for screenshots is refused by our policy.
    assert problems == [] or "SCREENSHOTS" in os.environ


def keeps_focus(page: Page, name: str) -> None:
    """What was replaced left the focus on something; a picture where one is asked for."""
    expect(page.locator(":focus")).to_have_count(1)
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"journey-{name}.png")


@pytest.mark.parametrize("hands", [Mouse, Keyboard])
def test_from_nothing_over_a_failing_test_to_the_first_answer(
    visitor: Page, site: Site, fake: fakes.Upstream, hands: Hands
) -> None:
    """The one-time link, a preset, a test that fails, its fix, the models, one of them in use."""
    fake.models = ["zai", "echo"]
    by = hands(visitor)

    def button(name: str | re.Pattern[str]) -> Locator:
        return visitor.get_by_role("button", name=name, exact=True)

    site.wait_gateway()
    visitor.goto(setup.link(site.url))
    by.write(visitor.locator("[name=username]"), "alice")
    by.write(visitor.locator("[name=password1]"), "correct-horse-battery")
    by.write(visitor.locator("[name=password2]"), "correct-horse-battery")
    by.press(button(re.compile("^Create")))

    by.press(visitor.get_by_role("link", name="Z.ai", exact=True))
    by.write(visitor.locator("[name=base_url]"), f"{fake.origin}/api/paas/v4")
    by.write(visitor.locator("[name=api_key]"), fakes.KEY)
    by.press(button("Test"))
    verdict = visitor.locator("#test-verdict")
    expect(verdict).to_contain_text("Coding Plan")
    keeps_focus(visitor, "failing")
    by.press(button("Apply fix"))
    expect(visitor.locator("[name=base_url]")).to_have_value(f"{fake.origin}/api/coding/paas/v4")
    expect(button("Test")).to_be_focused()
    keeps_focus(visitor, "fixed")
    by.press(button("Test"))
    expect(verdict).to_contain_text("It works over both connections")
    keeps_focus(visitor, "green")
    by.press(button("Save"))
    visitor.wait_for_url("**/providers/z*/**")
    expect(visitor.locator("#models-title")).to_have_text("Models 2")

    by.press(visitor.get_by_role("link", name="Models", exact=True).first)
    by.press(button(re.compile("^Disable all")))
    by.press(button(re.compile("^Enable echo$")))
    expect(button(re.compile("^Disable echo$"))).to_be_visible()
    keeps_focus(visitor, "models")
    chosen = Provider.objects.get().language_models.filter(enabled=True)
    assert list(chosen.values_list("model_id", flat=True)) == ["echo"]

    by.press(visitor.get_by_role("link", name="Chat with echo"))
    expect(visitor.locator("#composer-model option")).to_have_text([re.compile("echo")])
    by.write(visitor.locator("#prompt"), "Hello from the first run")
    visitor.keyboard.press("Enter")
    wait_status(visitor, "done")
    assert answer(visitor) == "Hello from the first run"
    expect(visitor.locator("#prompt")).to_be_focused()
    keeps_focus(visitor, "answer")
