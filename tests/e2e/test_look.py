"""Every page, light and dark, wide and narrow: nothing runs out of the screen, axe finds nothing.

With SCREENSHOTS=folder in the environment each page is also saved there, to be looked at.
"""

import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect

from api.connect import device_sign_in
from opencode_web import throttle
from opencode_web.launcher import setup
from providers.models import Provider
from providers.operations import lifecycle
from tests import fakes
from tests.e2e import past
from tests.e2e.overflow import assert_no_overflow, paused, record_overflow
from tests.e2e.people import ask, connect, remember, wait_status
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 360)]
# WCAG 2.2 AA, as docs and pages promise.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


def picture(page: Page, name: str, scheme: str, width: int) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = Path(folder) / f"{name}-{scheme}-{width}.png"
        with paused(page):
            page.screenshot(path=path, full_page=width == 360)


def look(page: Page, name: str, scheme: str, width: int) -> None:
    """No sideways scrolling so far; no violation; a picture where one is asked for."""
    assert_no_overflow(page, name)
    picture(page, name, scheme, width)
    result = Axe().run(page, options=RULES)
    assert result.violations_count == 0, result.generate_report()


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def style(request: pytest.FixtureRequest) -> tuple[str, int]:
    return request.param  # type: ignore[no-any-return]


def options(style: tuple[str, int]) -> dict[str, object]:
    scheme, width = style
    viewport = {"width": width, "height": 800}
    # Playwright's own style for screenshots is refused by our policy; motion is off by ours.
    return {"color_scheme": scheme, "viewport": viewport, "reduced_motion": "reduce"}


def test_signed_out(chromium: Browser, site: Site, style: tuple[str, int]) -> None:
    """The first-run page and sign-in."""
    context = chromium.new_context(base_url=site.url, **options(style))  # type: ignore[arg-type]
    record_overflow(context)
    page = context.new_page()
    page.goto(setup.link(site.url))
    look(page, "setup", *style)
    page.goto("/sign-in/")
    look(page, "sign-in", *style)
    context.close()


def test_too_many_wrong_passwords(chromium: Browser, site: Site, style: tuple[str, int]) -> None:
    """The page says how long to wait and counts it down; the name stays."""
    name = f"someone-{style[0]}-{style[1]}"
    context = chromium.new_context(base_url=site.url, **options(style))  # type: ignore[arg-type]
    record_overflow(context)
    page = context.new_page()
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("wrong-wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("is wrong")
    look(page, "sign-in-wrong", *style)
    # From elsewhere: this address is one for all tests.
    for number in range(throttle.PER_ACCOUNT - 1):
        throttle.begin(name, f"198.51.100.{number}")
    page.get_by_label("Password").fill("wrong-wrong")
    page.get_by_role("button", name="Sign in").click()
    timer = page.get_by_role("timer")
    first = timer.inner_text()
    expect(timer).not_to_have_text(first)
    expect(page.get_by_label("Username")).to_have_value(name)
    look(page, "sign-in-wait", *style)
    context.close()


def test_the_empty_site(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """Each empty state says what to do next."""
    page = new_context(**options(style)).new_page()
    for name in ("chat", "providers", "models", "status", "activity"):
        page.goto(f"/{name}/")
        look(page, f"empty-{name}", *style)


def test_providers(
    site: Site,
    new_context: Callable[..., BrowserContext],
    fake: fakes.Upstream,
    style: tuple[str, int],
) -> None:
    """The list, a new one, its test, one in detail, and the status page."""
    connect(fake.url, fake.url, models=("echo", "markdown"), health_status="healthy")
    connect("http://127.0.0.1:9/v1", name="Elsewhere", slug="elsewhere", health_status="failing")
    remember()
    page = new_context(**options(style)).new_page()
    for name, path in (
        ("providers", "/providers/"),
        ("new-provider", "/providers/new/"),
        ("new-provider-form", "/providers/new/?preset=zai"),
        ("provider", "/providers/acme/"),
        ("status", "/status/"),
        ("status-90d", "/status/?range=90d"),
        ("history", "/status/acme/?range=7d"),
    ):
        page.goto(path)
        look(page, name, *style)
    look_at_removal(page, style)
    page.goto("/providers/new/")
    page.get_by_label("Search vendors").press_sequentially("hugging")
    expect(page.locator("#found article")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/providers/new/\?q=hugging$"))
    look(page, "new-provider-found", *style)
    page.goto("/providers/new/?preset=openrouter")
    for fold in page.locator("#provider-form summary").all():
        fold.click()
    look(page, "new-provider-all-fields", *style)
    page.goto("/providers/new/?preset=zai")
    page.fill("[name=base_url]", f"{fake.origin}/api/paas/v4")
    page.fill("[name=api_key]", fakes.KEY)
    fake.models = ["zai"]
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_role("button", name="Apply fix").first.wait_for()
    look(page, "provider-test", *style)
    page.get_by_text("Show requests and responses").click()
    look(page, "provider-test-exchanges", *style)
    page.goto("/providers/")
    page.get_by_role("button", name="Test Acme").click()
    expect(page.locator("#test-acme-verdict")).to_contain_text("It works over both connections")
    look(page, "providers-tested", *style)
    assert Provider.objects.count() == 2


def test_transfer(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """Import with its preview and a key that is missing, export, and legacy providers."""
    golden = Path(__file__).parents[1] / "providers" / "importing" / "golden" / "opencode.json"
    page = new_context(**options(style)).new_page()
    page.goto("/settings/import/")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".errorlist")).to_contain_text("Choose a file")
    look(page, "import", *style)
    page.get_by_label("Configuration file").set_input_files(golden)
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_label("Key for Relay")).to_be_visible()
    look(page, "import-preview", *style)
    page.get_by_role("button", name="Import providers").click()
    expect(page.get_by_role("button", name="Opt in all")).to_be_visible()
    look(page, "legacy", *style)
    page.goto("/providers/relay/#connection")
    look(page, "legacy-provider", *style)
    page.goto("/settings/export/")
    look(page, "export", *style)


def test_keys_leave_only_with_the_password(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """What is missing is said at its field; a file that is too large gets a page of its own."""
    page = new_context(**options(style)).new_page()
    page.goto("/settings/export/")
    page.get_by_label("encrypted with a passphrase").check()
    for label in ("Passphrase", "Repeat passphrase"):
        page.get_by_role("textbox", name=re.compile(f"^{label}")).fill("correct horse battery")
    page.get_by_role("button", name="Download").click()
    expect(page.locator(".errorlist")).to_contain_text("Enter your password")
    look(page, "export-refused", *style)
    page.goto("/settings/import/")
    page.get_by_label("Configuration file").set_input_files(
        {"name": "large.json", "mimeType": "application/json", "buffer": b" " * 13 * 2**20}
    )
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="The upload is too large")).to_be_visible()
    look(page, "upload-refused", *style)


def test_models(
    site: Site,
    new_context: Callable[..., BrowserContext],
    fake: fakes.Upstream,
    style: tuple[str, int],
) -> None:
    """The catalogue searched as one types, a change taken back, one model, presets."""
    fake.models = ["glm-4.7", "glm-4.5-air", "echo"]
    acme = connect(fake.url, models=tuple(fake.models))
    acme.language_models.filter(model_id="glm-4.7").update(
        context=204_800, tools=True, reasoning=True, input_price="0.6", output_price="2.2"
    )
    page = new_context(**options(style)).new_page()
    page.goto("/models/")
    look(page, "models", *style)
    page.get_by_label("Search").press_sequentially("glm")
    expect(page.locator("#models-found li")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"/models/\?q=glm$"))
    page.get_by_role("button", name="Favourite: glm-4.7").click()
    expect(page.get_by_role("button", name="Favourite: glm-4.7")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.get_by_role("button", name=re.compile("^Disable all")).click()
    expect(page.get_by_role("button", name="Enable glm-4.7")).to_be_visible()
    look(page, "models-changed", *style)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Disable glm-4.7")).to_be_visible()
    page.get_by_role("link", name="glm-4.7", exact=True).click()
    page.get_by_label("Temperature").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".errorlist")).to_contain_text("less than or equal to 2")
    look(page, "model", *style)
    page.get_by_role("link", name="Test model").click()
    page.get_by_role("button", name="Test model").click()
    expect(page.locator("#test-verdict")).to_contain_text("The model answers")
    look(page, "model-test", *style)
    page.goto("/models/presets/")
    look(page, "model-presets", *style)


def test_virtual_models(
    site: Site,
    new_context: Callable[..., BrowserContext],
    fake: fakes.Upstream,
    style: tuple[str, int],
) -> None:
    """Made, given members, ordered with the keyboard alone, tested side by side."""
    connect(fake.url, models=("echo", "401"))
    page = new_context(**options(style)).new_page()
    page.goto("/models/virtual/")
    look(page, "virtual-models-empty", *style)
    page.get_by_role("link", name="Add virtual model").first.click()
    page.get_by_label("Name").fill("fast")
    look(page, "virtual-model-new", *style)
    page.get_by_role("button", name="Create virtual model").click()
    for model_id in ("echo", "401"):
        page.get_by_label("Model", exact=True).fill(f"acme/{model_id}")
        page.get_by_role("button", name="Add member").click()
        expect(page.locator("ol > li")).to_have_count(1 + (model_id == "401"))
    page.get_by_role("button", name="Move up 401").focus()
    page.keyboard.press("Enter")
    expect(page.locator("ol > li").first).to_contain_text("acme/401")
    expect(page.locator(".lead")).to_contain_text("acme/401 answers (first in order)")
    look(page, "virtual-model", *style)
    page.get_by_role("link", name="Test members").click()
    page.get_by_role("button", name="Test members").click()
    expect(page.locator("#member-results")).to_contain_text("Answered")
    look(page, "virtual-model-test", *style)
    page.goto("/models/virtual/")
    look(page, "virtual-models", *style)


def test_gateways_and_settings(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """A gateway's answer arrives by itself; a wrong address is an error at its field; the flags."""
    connect("http://127.0.0.1:9/v1")
    page = new_context(**options(style)).new_page()
    page.goto("/gateways/new/")
    page.get_by_label("Name").fill("Spare")
    page.get_by_label("Address").fill("ftp://nowhere")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".errorlist")).to_be_visible()
    look(page, "gateway-refused", *style)
    page.get_by_label("Address").fill("http://127.0.0.1:9")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Spare")).to_be_visible()
    expect(page.get_by_text("could not be reached").first).to_be_visible()
    look(page, "gateways", *style)
    page.get_by_role("button", name="Test Gateway process").click()
    expect(page.locator("#status-process")).to_contain_text("Healthy", timeout=120_000)
    page.get_by_text("vendors supported by LiteLLM").click()
    look(page, "gateways-vendors", *style)
    page.goto("/settings/")
    look(page, "settings", *style)
    page.get_by_role("link", name="Change password").click()
    page.get_by_label("Old password").fill("not it")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".errorlist").first).to_be_visible()
    look(page, "password", *style)


def look_at_removal(page: Page, style: tuple[str, int]) -> None:
    """A card's menu, the question, what follows, and the undo."""
    page.goto("/providers/")
    page.get_by_role("button", name="More actions for Elsewhere").click()
    look(page, "providers-menu", *style)
    page.get_by_role("link", name="Remove …").click()
    look(page, "providers-remove", *style)
    page.get_by_role("button", name="Remove provider").click()
    page.get_by_text("Elsewhere is removed.").wait_for()
    look(page, "providers-removed", *style)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Elsewhere is restored.").wait_for()


def test_activity(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """The log with all outcomes, filtered as one types, and traces: rescued, cooling down."""
    acme = connect("https://api.acme.example/v1")
    beta = connect("https://beta.example/v1", name="Beta", slug="beta")
    rescued, resting = past.requests(acme, beta)
    page = new_context(**options(style)).new_page()
    page.goto("/activity/")
    expect(page.locator("tbody tr")).to_have_count(30)
    look(page, "activity", *style)
    page.get_by_label("Model").press_sequentially("air")
    expect(page.locator("tbody tr")).to_have_count(9)
    expect(page).to_have_url(re.compile(r"/activity/\?model=air$"))
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(30)
    page.goto("/activity/?request=nonsense&person=nobody&outcome=ok")
    look(page, "activity-problems", *style)
    page.goto("/activity/?model=nothing-like-it")
    look(page, "activity-none", *style)
    for name, request_id in (("rescued", rescued), ("resting", resting)):
        page.goto(f"/activity/{request_id}/")
        look(page, f"activity-{name}", *style)
    page.goto(f"/activity/{uuid4()}/")
    look(page, "activity-missing", *style)


def test_connect(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """Without a key, with a new one that is shown, its settings, its rotation, its end."""
    connect("http://127.0.0.1:9/v1", models=("glm-4.7", "glm-4.5-air"))
    page = new_context(**options(style)).new_page()
    page.goto("/connect/")
    look(page, "connect-empty", *style)
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#new-key")).to_have_text(re.compile("^ocw-"))
    look(page, "connect", *style)
    page.get_by_role("link", name="Edit Laptop").click()
    page.get_by_label("Allowed models").fill("acme/glm-4.7\nacme/glm-4.5-*")
    page.get_by_label("Requests per minute").fill("60")
    page.get_by_label("Tokens per minute").fill("200000")
    page.get_by_label("Calls at once").fill("4")
    page.get_by_label("Budget (USD)").fill("0")
    page.get_by_label("Expires (UTC)").fill("2036-05-01T12:00")
    page.get_by_label("Tags").fill("team-a, ci")
    look(page, "connect-key", *style)
    page.get_by_role("button", name="Save key").click()
    expect(page.get_by_text("acme/glm-4.5-*")).to_be_visible()
    look(page, "connect-limited", *style)
    page.get_by_role("link", name="Rotate Laptop").click()
    look(page, "connect-rotate", *style)
    page.get_by_role("button", name="Rotate key").click()
    expect(page.get_by_text("The old key works until").first).to_be_visible()
    look(page, "connect-rotated", *style)
    page.get_by_role("link", name="Revoke Laptop").click()
    look(page, "connect-revoke", *style)


def test_the_device_sign_in(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """The code typed wrong, then right; the question; the answer."""
    row, _ = device_sign_in.start("192.0.2.7")
    page = new_context(**options(style)).new_page()
    page.goto("/connect/device/")
    page.get_by_label("Code").fill("AAAA-BBBB")
    page.get_by_role("button", name="Continue").click()
    look(page, "device-code", *style)
    page.get_by_label("Code").fill(row.code.lower())
    page.keyboard.press("Enter")
    expect(page.get_by_text("192.0.2.7", exact=True)).to_be_visible()
    look(page, "device-confirm", *style)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Confirmed.")).to_be_visible()


def test_chat(
    site: Site,
    new_context: Callable[..., BrowserContext],
    fake: fakes.Upstream,
    style: tuple[str, int],
) -> None:
    """Idle, streaming, finished with code and a table, with formulas and footnotes, failed."""
    connect(fake.url, fake.url, models=("markdown", "rich", "late-3000", "slow-100-50", "500"))
    page = new_context(**options(style)).new_page()
    page.goto("/chat/new/")
    look(page, "chat-idle", *style)
    ask(page, "How do I sort in Python? Show me code and a table.", "markdown")
    wait_status(page, "done")
    look(page, "chat-finished", *style)
    ask_again(page, "Explain the quadratic formula.", "rich")
    wait_status(page, "done")
    look(page, "chat-rich", *style)
    ask_again(page, "Take your time.", "late-3000")
    expect(page.locator(".waiting")).to_contain_text("gateway in")
    look(page, "chat-waiting", *style)
    wait_status(page, "done")
    ask_again(page, "Count slowly, please.", "slow-100-50")
    expect(page.locator(".transcript")).to_contain_text("w9 ")
    look(page, "chat-streaming", *style)
    page.get_by_role("button", name="Stop").click()
    wait_status(page, "stopped")
    ask_again(page, "And now something that fails.", "500")
    wait_status(page, "failed")
    look(page, "chat-failed", *style)


def test_the_chat_in_need_of_a_decision(
    site: Site,
    new_context: Callable[..., BrowserContext],
    fake: fakes.Upstream,
    style: tuple[str, int],
) -> None:
    """An answer that was cut, a text over the limit, a paused provider, the palette."""
    provider = connect(fake.url, fake.url)
    page = new_context(**options(style)).new_page()
    fake.script("ends-max-tokens", "ends-sensitive")
    ask(page, "Hello")
    wait_status(page, "done")
    ask_again(page, "And?", "echo")
    wait_status(page, "done")
    look(page, "chat-ended", *style)
    connect(fake.url, fake.url, name="Beta", slug="beta", models=("other",))
    page.evaluate("document.querySelector('#prompt').dataset.limit = 100")
    page.fill("#prompt", "word " * 50)
    page.press("#prompt", "Enter")
    expect(page.locator("#composer-errors")).to_contain_text("250 characters")
    look(page, "chat-too-long", *style)
    page.fill("#prompt", "")
    lifecycle.pause(provider)
    page.reload()
    expect(page.locator("#composer-pick")).to_be_visible()
    look(page, "chat-pick", *style)
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-found li")).to_have_count(1)
    look(page, "palette", *style)


def ask_again(page: Page, text: str, model: str) -> None:
    before = page.locator("[data-role=assistant]").count()
    ask(page, text, model)
    expect(page.locator("[data-role=assistant]")).to_have_count(before + 1)


def test_the_admin(
    site: Site, new_context: Callable[..., BrowserContext], style: tuple[str, int]
) -> None:
    """Django's own pages with our columns and actions: nothing serious or critical.

    The roll-ups are looked at whole and within a month: both show links to dates, on any day.
    """
    provider = connect("http://127.0.0.1:9/v1", models=("echo", "other"))
    remember()
    page = new_context(**options(style)).new_page()
    month = timezone.now() - timedelta(days=40)
    bad = []
    for name, path in (
        ("admin", ""),
        ("admin-providers", "providers/provider/"),
        ("admin-provider", f"providers/provider/{provider.pk}/change/"),
        ("admin-routes", "providers/route/"),
        ("admin-models", "providers/languagemodel/"),
        ("admin-attempts", "providers/attempt/"),
        ("admin-audit", "providers/auditevent/"),
        ("admin-incidents", "health/incident/"),
        ("admin-rollups", "health/healthrollup/"),
        ("admin-rollups-month", f"health/healthrollup/?hour__year={month:%Y&hour__month=%m}"),
        ("admin-keys", "api/clientkey/"),
    ):
        page.goto(f"/admin/{path}")
        picture(page, name, *style)
        found = Axe().run(page, options=RULES).response["violations"]
        bad += [
            (path, each["id"], [node["html"][:150] for node in each["nodes"]][:3])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
    assert bad == []
