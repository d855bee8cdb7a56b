"""An answer survives: reload, a closed tab, two tabs, a dead web process, a dead runner."""

from collections.abc import Callable

import pytest
from django.conf import settings
from playwright.sync_api import BrowserContext, Page, expect

from chat.models import Message
from tests import fakes
from tests.e2e.people import answer, ask, connect, reply, wait_status
from tests.e2e.site import Site
from tests.polling import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.stack]
SLOW = "slow-120-40"
WHOLE = fakes.slow_text(120)


@pytest.fixture
def slow_chat(site: Site, page: Page, fake: fakes.Upstream) -> Page:
    """A page in mid-answer: the first words are there, most are still to come."""
    connect(fake.url, fake.url, models=(SLOW,))
    ask(page, "Count for me.", SLOW)
    expect(page.locator(".transcript")).to_contain_text("w9 ")
    return page


def test_a_reload_in_mid_answer_loses_nothing(slow_chat: Page) -> None:
    """No gap and no repeat, on the page and in the row."""
    slow_chat.reload()
    wait_status(slow_chat, "done")
    assert answer(slow_chat) == WHOLE
    assert reply().text == WHOLE


def test_a_closed_tab_finds_the_answer_complete(
    slow_chat: Page, new_context: Callable[..., BrowserContext]
) -> None:
    """Nobody was looking while it was finished."""
    url = slow_chat.url
    slow_chat.close()
    wait_until(lambda: reply().status == "done")
    page = new_context().new_page()
    page.goto(url)
    assert answer(page) == WHOLE


def test_two_tabs_see_the_same_answer(slow_chat: Page) -> None:
    """The second joins in the middle."""
    second = slow_chat.context.new_page()
    second.goto(slow_chat.url)
    for page in (slow_chat, second):
        wait_status(page, "done")
        assert answer(page) == WHOLE


def test_a_web_process_that_dies_in_mid_answer_is_not_noticed(slow_chat: Page, site: Site) -> None:
    """kill -9, then a new process: the page resumes where it was."""
    site.kill("web")
    site.start("web")
    wait_status(slow_chat, "done")
    assert answer(slow_chat) == WHOLE
    assert reply().text == WHOLE


def test_a_runner_that_dies_is_taken_over_within_ten_seconds(slow_chat: Page, site: Site) -> None:
    """What was visible is kept and marked interrupted; Continue and Try again are offered."""
    site.kill("runner")
    site.start("runner")
    wait_status(slow_chat, "interrupted", seconds=30)
    text = reply().text
    assert text
    assert WHOLE.startswith(text)
    assert answer(slow_chat).strip() == text.strip()
    assert slow_chat.get_by_role("button", name="Continue").is_visible()
    assert slow_chat.get_by_role("button", name="Try again").is_visible()


def test_a_turn_with_nothing_visible_is_run_again(
    site: Site, page: Page, fake: fakes.Upstream
) -> None:
    """The reader just waits a little longer."""
    connect(fake.url, fake.url)
    fake.script("stall-headers", "echo")
    ask(page, "Say this back.", "echo")
    wait_until(lambda: fake.requests)
    site.kill("runner")
    site.start("runner")
    wait_status(page, "done")
    assert answer(page) == "Say this back."


def test_stop_closes_the_upstreams_connection_within_a_second(
    slow_chat: Page, fake: fakes.Upstream
) -> None:
    """From any tab; what came is kept."""
    slow_chat.reload()
    slow_chat.get_by_role("button", name="Stop").click()
    wait_until(lambda: fake.requests[-1].disconnected_at)
    wait_status(slow_chat, "stopped")
    assert WHOLE.startswith(reply().text.strip())


def test_a_draft_survives_a_reload(site: Site, page: Page, fake: fakes.Upstream) -> None:
    """What was typed stays typed."""
    connect(fake.url)
    page.goto("/chat/new/")
    page.fill("#prompt", "half a thought")
    page.reload()
    assert page.input_value("#prompt") == "half a thought"


def test_an_ended_session_keeps_what_was_typed(
    site: Site, page: Page, fake: fakes.Upstream
) -> None:
    """Send leads to sign-in, and from there back to the conversation and the text."""
    connect(fake.url, fake.url)
    ask(page, "first", "echo")
    wait_status(page, "done")
    expect(page.locator("#composer-action")).to_have_text("Send")
    where = page.url
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.fill("#prompt", "a long and careful question")
    page.press("#prompt", "Enter")
    page.wait_for_url("**/sign-in/**")
    page.fill("[name=username]", "alice")
    page.fill("[name=password]", "a-long-pass-phrase")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(where)
    assert page.input_value("#prompt") == "a long and careful question"
    assert Message.objects.filter(role="user").count() == 1


def test_without_javascript_the_page_works_plainly(
    site: Site, new_context: Callable[..., BrowserContext], fake: fakes.Upstream
) -> None:
    """A form, a redirect, a page that refreshes itself until the answer is there."""
    connect(fake.url, fake.url)
    page = new_context(java_script_enabled=False).new_page()
    page.goto("/chat/new/")
    page.fill("#prompt", "plain words")
    page.get_by_role("button", name="Send").click()
    body = page.locator("[data-role=assistant] .message-body")
    expect(body).to_have_text("plain words", timeout=60_000)
