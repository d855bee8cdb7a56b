"""The browser that the tests drive."""

from pathlib import Path

import pytest

from opencode_web.launcher.browser import browser_variables, find_browser
from opencode_web.launcher.home import CannotStart


def test_the_browser_is_the_named_one_or_the_first_on_the_path(tmp_path: Path) -> None:
    """Debian's chromium comes before a Chrome."""
    for name in ("google-chrome", "chromium"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    named = str(tmp_path / "google-chrome")
    assert find_browser({"PATH": str(tmp_path)}) == str(tmp_path / "chromium")
    assert find_browser({"PATH": str(tmp_path), "CHROMIUM": named}) == named


def test_a_named_browser_that_is_not_there_is_a_sentence() -> None:
    """Another browser than the named one would be a surprise."""
    with pytest.raises(CannotStart, match=r"CHROMIUM names /nowhere/chromium"):
        find_browser({"PATH": "", "CHROMIUM": "/nowhere/chromium"})


async def test_ci_skips_no_browser_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere one line says what to install."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("opencode_web.launcher.browser.MAC_BROWSERS", ())
    lines: list[str] = []
    assert await browser_variables({"PATH": ""}, lines.append) == {}
    assert len(lines) == 1
    with pytest.raises(CannotStart):
        await browser_variables({"PATH": "", "CI": "true"}, lines.append)
