"""With the database or Redis away the site says what is degraded, and recovers by itself."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from django.conf import settings
from playwright.sync_api import BrowserContext, expect

from tests import fakes
from tests.e2e.door import Door
from tests.e2e.people import answer, ask, connect, wait_status
from tests.e2e.site import Site, database_url
from tests.polling import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture
def redis_door() -> Door:
    return Door(Path(settings.REDIS_URL.removeprefix("unix://").partition("?")[0]))


@pytest.fixture
def database_door() -> Door:
    found = re.search(r"@(%2F[^/:]+)", database_url(), re.IGNORECASE)
    if found is None:
        pytest.skip("DATABASE_URL is no socket of `./dev test`")
    return Door(Path(unquote(found[1])) / ".s.PGSQL.5432")


@pytest.fixture
def behind_doors(
    site: Site, redis_door: Door, database_door: Door, tmp_path: Path
) -> Iterator[Site]:
    """A second site on the same database and Redis, through doors that are still shut."""
    name = database_url().partition("?")[0].rpartition("/")[2]
    fragile = Site(
        tmp_path,
        REDIS_URL=f"redis://127.0.0.1:{redis_door.port}/0",
        DATABASE_URL=f"postgresql://postgres@127.0.0.1:{database_door.port}/{name}",
    )
    # The first site's runner would take the turns of this one.
    site.kill("runner")
    yield fragile
    fragile.stop()


def ails(site: Site, what: str) -> bool:
    """Whether the site can serve, and names this among what is amiss."""
    found = httpx.get(f"{site.url}/readyz", timeout=60)
    return found.status_code == 200 and any(what in each for each in found.json()["reasons"])


REDIS, DATABASE = "Redis cannot be reached", "The database cannot be reached"


def test_redis_unreachable_at_start_and_back_later(
    behind_doors: Site,
    redis_door: Door,
    database_door: Door,
    new_context: Callable[..., BrowserContext],
    fake: fakes.Upstream,
) -> None:
    """A banner says so, answers still arrive, and it is gone when Redis is back."""
    database_door.open()
    for part in ("web", "runner"):
        behind_doors.start(part)
    behind_doors.wait_ready()
    assert ails(behind_doors, REDIS)
    connect(fake.url, fake.url)
    page = new_context().new_page()
    page.goto(f"{behind_doors.url}/chat/new/")
    expect(page.locator(".banner")).to_contain_text("Redis cannot be reached")
    ask(page, "still here?", "echo")
    wait_status(page, "done")
    assert answer(page) == "still here?"
    redis_door.open()
    wait_until(lambda: not ails(behind_doors, REDIS))
    page.reload()
    expect(page.locator(".banner")).to_have_count(0)


def test_the_database_unreachable_at_start_and_later(
    behind_doors: Site,
    redis_door: Door,
    database_door: Door,
    new_context: Callable[..., BrowserContext],
) -> None:
    """A page with the reason that asks again by itself; then the site, then the page once more."""
    redis_door.open()
    behind_doors.start("web")
    behind_doors.wait_ready()
    page = new_context().new_page()
    said = page.goto(f"{behind_doors.url}/chat/")
    assert said is not None
    assert said.status == 503
    assert httpx.get(f"{behind_doors.url}/readyz", timeout=60).status_code == 503
    expect(page.locator("body")).to_contain_text("The database cannot be reached")
    database_door.open()
    expect(page.locator("#composer, .empty").first).to_be_visible(timeout=60_000)
    wait_until(lambda: httpx.get(f"{behind_doors.url}/readyz", timeout=60).status_code == 200)
    database_door.shut()
    wait_until(lambda: ails(behind_doors, DATABASE))
    database_door.open()
    wait_until(lambda: not ails(behind_doors, DATABASE))
