"""`./dev test`: every check of the project, on databases that are gone afterwards.

All checks run, whatever the ones before them found, and the tests come last, so that their summary
is the last thing printed. With arguments only the tests run. In CI nothing may be left out.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opencode_web.databases import foreground, throw_away
from opencode_web.home import CannotStart
from opencode_web.preparing import collect_static

ROOT = Path(__file__).resolve().parent.parent
# Not its script, which is bound to where the environment was made: the checkout may have moved.
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"
STOPPED = 130
"""The exit code of a command that Ctrl-C ended."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MAC_BROWSERS = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to run, and the name to show for it."""

    name: str
    argv: tuple[str, ...]


def checks() -> list[Check]:
    """Everything but the tests."""
    python = (sys.executable, "-m")
    templates = tuple(str(path) for path in sorted(ROOT.glob("templates/**/*.html")))
    found = [
        Check(name="lint", argv=(*python, "ruff", "check", ".")),
        Check(name="format", argv=(*python, "ruff", "format", "--check", ".")),
        Check(name="types", argv=(*python, "mypy", ".")),
        Check(name="import contracts", argv=(sys.executable, "-c", LINT_IMPORTS)),
        Check(
            name="migrations",
            argv=(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"),
        ),
    ]
    if templates:
        djade = (str(Path(sys.executable).parent / "djade"), "--check", *templates)
        found.insert(2, Check(name="templates", argv=djade))
    return found


async def test(arguments: list[str]) -> int:
    """0 when every check and every test passed."""
    env = os.environ | await browser_variables(os.environ)
    async with throw_away(env, say) as env:
        await lend_static(env)
        failed = [] if arguments else [check.name for check in checks() if await run(check, env)]
        tests = Check(name="tests", argv=(sys.executable, "-m", "pytest", *arguments))
        if failed:
            say(f"\nFailed before the tests: {', '.join(failed)}.")
        code = await run(tests, env)
    return code or int(bool(failed))


async def run(check: Check, env: Mapping[str, str]) -> int:
    say(f"== {check.name}")
    began = time.monotonic()
    code = await foreground(list(check.argv), env, ROOT)
    if code in (-signal.SIGINT, STOPPED):
        raise KeyboardInterrupt
    if check.name != "tests":
        word = "failed" if code else "good"
        say(f"== {check.name}: {word} after {time.monotonic() - began:.1f} s\n")
    return code


async def lend_static(env: Mapping[str, str]) -> None:
    """The static files of the run before, where they are the same: preparing them takes seconds."""
    kept = ROOT / ".venv" / "tests"
    (kept / "stamps").mkdir(parents=True, exist_ok=True)
    (kept / "logs").mkdir(exist_ok=True)
    await collect_static(kept, {**env, "OPENCODE_WEB_HOME": str(kept)}, say)
    (Path(env["OPENCODE_WEB_HOME"]) / "static").symlink_to(kept / "static")


async def browser_variables(given: Mapping[str, str]) -> dict[str, str]:
    """CHROMIUM, the browser the tests drive; without one they say that they are skipped."""
    found = find_browser(given)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing Chromium for the browser tests ...")
        for arguments in (("update", "-qq"), ("install", "-y", "-qq", "chromium")):
            await foreground(
                ["apt-get", *arguments], {**given, "DEBIAN_FRONTEND": "noninteractive"}, ROOT
            )
        found = find_browser(given)
    if found:
        return {"CHROMIUM": found}
    if given.get("CI"):
        raise CannotStart(
            "No Chromium was found, and CI skips nothing. Install it or set CHROMIUM."
        )
    say(
        "The browser tests are skipped: no Chromium was found. To run them, install it"
        " (Debian: apt-get install chromium) or set CHROMIUM to its path."
    )
    return {}


def find_browser(given: Mapping[str, str]) -> str | None:
    if named := given.get("CHROMIUM"):
        if not shutil.which(named):
            raise CannotStart(f"CHROMIUM names {named}, which is no program that can be run.")
        return named
    found = (shutil.which(name, path=given.get("PATH")) for name in BROWSERS)
    installed = (str(path) for path in MAC_BROWSERS if path.exists())
    return next((path for path in (*found, *installed) if path), None)


def say(text: str) -> None:
    print(text, flush=True)
