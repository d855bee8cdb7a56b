"""The composer and the list of conversations in a real browser, with scripts and without."""

import re
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from chat.models import Conversation, Message
from providers.models import LanguageModel
from providers.operations import lifecycle
from tests import fakes
from tests.e2e.people import answer, ask, connect, pick, reply, wait_status
from tests.e2e.site import Site
from tests.polling import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.stack]
PASTE = """() => {
    document.querySelector('#prompt').value = ('x'.repeat(57) + '\\n').repeat(20000);
    document.querySelector('#prompt').dispatchEvent(new Event('input', { bubbles: true }));
}"""
LABELS = """links => links.filter(e => e.checkVisibility() && e.offsetHeight).map(link => {
    const range = document.createRange();
    range.selectNodeContents(link);
    const box = range.getBoundingClientRect();
    return [box.left, box.right];
})"""
ENTER = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}


@pytest.fixture
def plain(new_context: Callable[..., BrowserContext]) -> Page:
    """A page of Alice's in a browser that runs no scripts."""
    page = new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(60_000)
    return page


def press_enter_twice(page: Page) -> None:
    """Both within one round trip."""
    keyboard = page.context.new_cdp_session(page)
    for kind in ("keyDown", "keyUp", "keyDown", "keyUp"):
        keyboard.send("Input.dispatchKeyEvent", {"type": kind, **ENTER})


def remember_conversations(owner: User, count: int) -> None:
    moment, model = timezone.now(), LanguageModel.objects.get()
    Conversation.objects.bulk_create(
        Conversation(
            owner=owner,
            title=f"Talk {n:03}",
            language_model=model,
            updated_at=moment - timedelta(hours=n),
        )
        for n in range(count)
    )


def test_two_quick_enters_make_one_turn(page: Page, site: Site, fake: fakes.Upstream) -> None:
    """In a new chat, in an old one, and in a page that the browser took from its memory."""
    connect(fake.url, fake.url)
    page.goto("/chat/new/")
    page.fill("#prompt", "Hello")
    press_enter_twice(page)
    wait_status(page, "done")
    page.fill("#prompt", "And now?")
    press_enter_twice(page)
    expect(page.locator("[data-role=assistant]")).to_have_count(2)
    wait_status(page, "done")
    assert (Conversation.objects.count(), Message.objects.count()) == (1, 4)
    assert len([each for each in fake.requests if "chat" in each.path]) == 2
    expect(page.locator("#composer-errors")).to_be_empty()
    page.go_back()
    page.fill("#prompt", "Hello")
    page.press("#prompt", "Enter")
    wait_status(page, "done")
    assert Conversation.objects.count() == 2


def test_a_paste_over_the_limit_stays_whole_and_the_limit_is_named(
    page: Page, site: Site, fake: fakes.Upstream
) -> None:
    """Nothing is sent, nothing is cut; a shorter one goes out."""
    connect(fake.url, fake.url)
    page.goto("/chat/new/")
    page.evaluate(PASTE)
    page.press("#prompt", "Enter")
    notice = page.locator("#composer-errors [role=alert]")
    expect(notice).to_contain_text("1,160,000 characters. The limit is 400,000.")
    expect(page.locator("#prompt")).to_have_attribute("aria-invalid", "true")
    assert page.evaluate("document.querySelector('#prompt').value.length") == 1_160_000
    assert not Message.objects.exists()
    page.fill("#prompt", "Short")
    page.press("#prompt", "Enter")
    wait_status(page, "done")
    assert answer(page) == "Short"


def test_what_was_typed_since_beats_a_returned_question(
    page: Page, site: Site, fake: fakes.Upstream
) -> None:
    """When the failure arrives, and after a reload; an empty composer gets the question."""
    connect(fake.url, fake.url, models=("500", "slow-100-50"))
    ask(page, "First question", "500")
    wait_status(page, "failed")
    expect(page.locator("#prompt")).to_have_value("First question")
    page.fill("#prompt", "Another thought")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("Another thought")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#prompt")).to_have_value("Another thought")
    wait_status(page, "failed")
    expect(page.locator("#prompt")).to_have_value("Another thought")


def test_a_paused_provider_asks_for_a_pick(page: Page, site: Site, fake: fakes.Upstream) -> None:
    """The conversation says so; nothing is sent to another account before one is picked."""
    provider = connect(fake.url, fake.url)
    ask(page, "Hello")
    wait_status(page, "done")
    connect(fake.url, fake.url, name="Beta", slug="beta", models=("other",))
    lifecycle.pause(provider)
    page.reload()
    expect(page.locator("#composer-pick")).to_contain_text("The provider Acme is paused.")
    page.fill("#prompt", "Go on")
    page.press("#prompt", "Enter")
    assert page.evaluate("document.querySelector('#composer-model').validity.valueMissing")
    assert Message.objects.count() == 2
    pick(page, "other")
    page.press("#prompt", "Enter")
    expect(page.locator("[data-role=assistant]")).to_have_count(2)
    expect(page.locator("#composer-pick")).to_have_count(0)
    wait_status(page, "done")


def test_old_conversations_come_as_the_list_is_scrolled(
    page: Page, site: Site, fake: fakes.Upstream, transactional_owner: User
) -> None:
    """Page after page, to the very first one."""
    connect(fake.url, fake.url)
    remember_conversations(transactional_owner, 130)
    page.goto("/chat/new/")
    links = page.locator("a.conversation")
    expect(links).to_have_count(50)
    for shown in (100, 130):
        page.locator(".conversations-more").scroll_into_view_if_needed()
        expect(links).to_have_count(shown)
    expect(page.locator(".conversations-more")).to_have_count(0)
    expect(links.last).to_contain_text("Talk 129")


def test_any_conversation_is_opened_by_keyboard_from_the_palette(
    page: Page, site: Site, fake: fakes.Upstream, transactional_owner: User
) -> None:
    """On any page: Ctrl-K, a few letters, an arrow, Enter."""
    connect(fake.url, fake.url)
    remember_conversations(transactional_owner, 130)
    page.goto("/providers/")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-found li")).to_have_count(20)
    page.keyboard.type("new chat")
    expect(page.locator("#palette-list li:visible")).to_have_text(["New chat"])
    page.keyboard.press("Control+a")
    page.keyboard.type("talk 117")
    expect(page.locator("#palette-found li")).to_have_count(1)
    expect(page.locator("#palette-status")).to_have_text("1 conversation")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#palette-found a")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Talk 117")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-found li")).to_have_count(20)
    page.keyboard.type("nothing like it")
    expect(page.locator("#palette-found li")).to_have_count(0)
    expect(page.locator(".palette-none")).to_be_visible()


def test_the_chat_without_scripts(
    plain: Page, site: Site, fake: fakes.Upstream, transactional_owner: User
) -> None:
    """Old conversations by a link; a text over the limit comes back whole; a pick is required."""
    provider = connect(fake.url, fake.url)
    remember_conversations(transactional_owner, 60)
    plain.goto("/chat/new/")
    plain.get_by_role("link", name="Older conversations").click()
    expect(plain.locator("a.conversation").last).to_contain_text("Talk 059")
    plain.get_by_role("link", name="Newest conversations").click()
    expect(plain.locator("a.conversation").first).to_contain_text("Talk 000")
    plain.fill("#prompt", "y" * 400_001)
    plain.get_by_role("button", name="Send").click()
    expect(plain.locator("#composer-errors")).to_contain_text("400,001 characters")
    assert len(plain.locator("#prompt").input_value()) == 400_001
    plain.fill("#prompt", "Hello")
    plain.get_by_role("button", name="Send").click()
    wait_until(lambda: Message.objects.filter(status="done", text="Hello").exists())
    lifecycle.pause(provider)
    connect(fake.url, fake.url, name="Beta", slug="beta", models=("other",))
    plain.reload()
    expect(plain.locator("#composer-pick")).to_contain_text("The provider Acme is paused.")
    expect(plain.locator("#composer-model")).to_have_value("")


@pytest.mark.parametrize("scripted", [True, False])
def test_a_cut_answer_goes_on_in_the_same_message(
    page: Page, plain: Page, site: Site, fake: fakes.Upstream, scripted: bool
) -> None:
    """With scripts and without; it says that it was cut off until then."""
    connect(fake.url)
    fake.script("ends-max-tokens", "sixty")
    reader = page if scripted else plain
    reader.goto("/chat/new/")
    reader.fill("#prompt", "Tell me.")
    reader.get_by_role("button", name="Send").click()
    expect(reader.locator(".message .notice")).to_contain_text("Cut off at the token limit.")
    cut = reply()
    reader.get_by_role("button", name="Continue").click()
    wait_until(lambda: reply().status == "done" and len(reply().text) > len(cut.text))
    expect(reader.locator(".message .notice")).to_have_count(0)
    assert reply().pk == cut.pk
    assert reply().text.startswith(cut.text)
    wait_until(lambda: answer(reader).startswith(cut.text))


@pytest.mark.parametrize("scripted", [True, False])
def test_the_wait_for_an_answer_is_explained(
    page: Page, plain: Page, site: Site, fake: fakes.Upstream, scripted: bool
) -> None:
    """Which model and route, since when, what is next; the status line says it once."""
    connect(fake.url, fake.url, models=("late-6000",))
    reader = page if scripted else plain
    reader.goto("/chat/new/")
    reader.fill("#prompt", "Hello")
    reader.get_by_role("button", name="Send").click()
    line = reader.locator(".waiting")
    shown = r"Waiting for late-6000 on Acme, direct for {} s; gateway in \d s"
    expect(line).to_have_text(re.compile(shown.format("[0-3]")), timeout=10_000)
    if scripted:
        said = "Waiting for late-6000 on Acme, direct. Without an answer in 10 s gateway is tried."
        expect(reader.locator("#turn-status")).to_have_text(said)
        reader.reload()
    expect(line).to_have_text(re.compile(shown.format("[3-6]")), timeout=10_000)
    wait_status(reader, "done")
    expect(line).to_have_count(0)
    expect(reader.locator(".chip")).to_contain_text(re.compile(r"first token \d"))


@pytest.mark.parametrize("width", [320, 360])
def test_on_a_phone_everything_stays_in_reach(
    new_context: Callable[..., BrowserContext], site: Site, fake: fakes.Upstream, width: int
) -> None:
    """At the end of a long answer: the title, Rename, the list; no label runs into another."""
    connect(fake.url, models=("long",))
    page = new_context(viewport={"width": width, "height": 700}).new_page()
    ask(page, "Tell me a long story about a very long title that does not fit")
    wait_status(page, "done")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.evaluate("scrollY") > 0
    expect(page.get_by_role("heading", level=1)).to_be_in_viewport(ratio=0.9)
    expect(page.get_by_role("link", name="Rename")).to_be_in_viewport(ratio=0.9)
    page.locator("summary", has_text="Conversations").click()
    expect(page.locator("a.conversation").first).to_be_in_viewport(ratio=0.9)
    labels = page.locator(".rail a, .rail button").evaluate_all(LABELS)
    assert len(labels) == 7
    assert all(right + 2 <= left for (_, right), (left, _) in pairwise(sorted(labels)))
