"""A stranger's way: the one-time link, the first provider with a test, the first chat."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core import serializers
from django.core.management import call_command
from playwright.sync_api import Browser, Page, expect

from chat.models import Message
from opencode_web.launcher import setup
from providers.models import Attempt, Provider
from tests import fakes
from tests.e2e.people import answer, ask, wait_status
from tests.e2e.site import Site
from tests.polling import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.stack]
SECRET = "sk-very-secret-0123456789abcdef"


@pytest.fixture
def visitor(chromium: Browser, site: Site) -> Iterator[Page]:
    """Somebody who is not signed in."""
    context = chromium.new_context(base_url=site.url)
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def test_from_the_link_to_the_first_answer(
    visitor: Page,
    site: Site,
    fake: fakes.Upstream,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And the key that was typed is never seen again, anywhere."""
    fake.key = SECRET
    pages: list[str] = []
    visitor.on("response", lambda r: pages.append(_text(r)))
    visitor.goto(setup.link(site.url))
    visitor.fill("[name=username]", "alice")
    visitor.fill("[name=password1]", "correct-horse-battery")
    visitor.fill("[name=password2]", "correct-horse-battery")
    visitor.get_by_role("button", name="Create").click()
    visitor.wait_for_url("**/providers/")

    visitor.goto("/providers/new/?preset=custom")
    visitor.fill("[name=name]", "Acme")
    visitor.fill("[name=base_url]", f"{fake.url}/chat/completions")
    visitor.fill("[name=api_key]", SECRET)
    visitor.get_by_role("button", name="Test", exact=True).click()
    expect(visitor.locator("[data-state=ok]").first).to_be_visible()
    visitor.get_by_role("button", name="Save").click()
    visitor.wait_for_url("**/providers/acme/**")
    provider = Provider.objects.get()
    assert provider.base_url == fake.url
    assert provider.api_key == SECRET
    wait_until(lambda: provider.language_models.exists())

    visitor.goto("/chat/new/")
    ask(visitor, "Hello from the first run", "echo")
    wait_status(visitor, "done")
    assert answer(visitor) == "Hello from the first run"
    for path in (
        "/providers/",
        "/providers/acme/",
        "/status/",
        "/admin/providers/provider/1/change/",
    ):
        visitor.goto(path.replace("/1/", f"/{provider.pk}/"))
    _assert_nowhere(site, pages, tmp_path, capfd)


def _text(response: object) -> str:
    kind = response.headers.get("content-type", "")  # type: ignore[attr-defined]
    if ("text" not in kind and "json" not in kind) or "event-stream" in kind:
        return ""
    try:
        return str(response.text())  # type: ignore[attr-defined]
    except Exception:  # a redirect has no body to read
        return ""


def _assert_nowhere(
    site: Site, pages: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """HTML, logs, a dump of every row, exceptions, what the test printed."""
    assert any("Acme" in page for page in pages)
    for page in pages:
        assert SECRET not in page
    for log in site.logs.iterdir():
        assert SECRET not in log.read_text(errors="replace"), log.name
    from django.db import connection

    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own tables
            assert SECRET not in str(cursor.fetchall()), table
    assert SECRET not in repr(list(Provider.objects.all()))
    out, err = capfd.readouterr()
    sys.stdout.write(out)
    assert SECRET not in out + err
    dump = io.StringIO()
    call_command("dumpdata", "chat", "sessions", stdout=dump)
    assert SECRET not in dump.getvalue()
    assert SECRET not in serializers.serialize(
        "json", [*Attempt.objects.all(), *Message.objects.all()]
    )


def test_a_zai_key_on_the_general_address_is_explained_and_mended(
    page: Page, site: Site, fake: fakes.Upstream
) -> None:
    """429 with code 1113 is the wrong base URL, not a rate limit; Apply fix fills in the other."""
    page.goto("/providers/new/?preset=zai")
    page.fill("[name=base_url]", f"{fake.origin}/api/paas/v4")
    page.fill("[name=api_key]", fakes.KEY)
    fake.models = ["zai"]
    page.get_by_role("button", name="Test", exact=True).click()
    fix = page.get_by_role("button", name="Apply fix").first
    fix.wait_for()
    verdict = page.locator("[id$=-verdict]").inner_text()
    assert "Coding Plan" in verdict
    fix.click()
    expect(page.locator("[name=base_url]")).to_have_value(f"{fake.origin}/api/coding/paas/v4")
    page.fill("[name=api_key]", fakes.KEY)
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("[id$=-direct-chat][data-state=ok]")).to_be_visible()
