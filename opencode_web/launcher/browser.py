"""The browser that the tests drive: the one that CHROMIUM names, else the first that is found."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from opencode_web.launcher.databases import foreground
from opencode_web.launcher.home import CannotStart
from opencode_web.launcher.supervisor import Report

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MAC_BROWSERS = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)


async def browser_variables(given: Mapping[str, str], report: Report) -> dict[str, str]:
    """CHROMIUM, for the tests. Root on Debian gets a browser installed; without one the browser
    tests are skipped, except in CI: that raises CannotStart."""
    browser = find_browser(given)
    if browser is None and os.geteuid() == 0 and shutil.which("apt-get"):
        report("Installing Chromium for the browser tests ...")
        await _install_chromium(given)
        browser = find_browser(given)
    if browser:
        return {"CHROMIUM": browser}
    if given.get("CI"):
        raise CannotStart(
            "No Chromium was found, and CI skips nothing. Install it or set CHROMIUM."
        )
    report(
        "The browser tests are skipped: no Chromium was found. To run them, install it"
        " (Debian: apt-get install chromium) or set CHROMIUM to its path."
    )
    return {}


def find_browser(given: Mapping[str, str]) -> str | None:
    """The path of a browser. Raises CannotStart where CHROMIUM names none."""
    if named := given.get("CHROMIUM"):
        if not shutil.which(named):
            raise CannotStart(f"CHROMIUM names {named}, which is no program that can be run.")
        return named
    on_path = (shutil.which(name, path=given.get("PATH")) for name in BROWSERS)
    installed = (str(path) for path in MAC_BROWSERS if path.exists())
    return next((path for path in (*on_path, *installed) if path), None)


async def _install_chromium(given: Mapping[str, str]) -> None:
    env = {**given, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (("update", "-qq"), ("install", "-y", "-qq", "chromium")):
        await foreground(["apt-get", *arguments], env, ROOT)
