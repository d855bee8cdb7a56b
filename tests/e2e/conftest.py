"""Fixtures of the end-to-end tests: the running site, a real browser, and people in it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright
from pytest_django import DjangoDbBlocker

from tests.e2e.overflow import record_overflow
from tests.e2e.site import Site

# By default five seconds, which a busy machine may take for a page.
expect.set_options(timeout=30_000)
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium its tests are skipped, by name; in CI that is a failure instead."""
    if Path(CHROMIUM).exists() or os.environ.get("CI"):
        return
    skip = pytest.mark.skip(reason="no Chromium here: apt-get install chromium, or set CHROMIUM")
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(skip)


@pytest.fixture(scope="package")
def running_site(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    # Not for the whole session: its runner would take the turns of other tests.
    with django_db_blocker.unblock():
        site = Site(tmp_path_factory.mktemp("site"))
    site.start_all()
    yield site
    site.stop()


@pytest.fixture
def site(running_site: Site, transactional_db: None) -> Iterator[Site]:
    """The running site on empty tables; what a test killed is started again after it."""
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    yield running_site
    for part in running_site.commands():
        process = running_site.parts.get(part)
        if process is None or process.poll() is not None:
            running_site.start(part)
    running_site.wait_ready()


@pytest.fixture(scope="package")
def playwright_driver() -> Iterator[Playwright]:
    # Playwright keeps an event loop in the tests' own thread, where Django would refuse the ORM.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as driver:
        yield driver
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="package")
def chromium(playwright_driver: Playwright) -> Iterator[Browser]:
    browser = playwright_driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def new_context(
    chromium: Browser, site: Site, transactional_owner: User
) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browser contexts in which Alice is signed in; each fails the test on a page error."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def make(**options: object) -> BrowserContext:
        context = chromium.new_context(base_url=site.url, **options)  # type: ignore[arg-type]
        record_overflow(context)
        client = Client()
        client.force_login(transactional_owner)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": site.url}]
        )
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on(
            "console",
            lambda message: (
                problems.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def transactional_owner(transactional_db: None) -> User:
    return User.objects.create_superuser("alice", password="a-long-pass-phrase")


@pytest.fixture
def page(new_context: Callable[..., BrowserContext]) -> Page:
    """A page in which Alice is signed in."""
    page = new_context().new_page()
    page.set_default_timeout(60_000)
    return page
