"""What `./dev test` runs: the static checks, and all tests in three lanes of about the same time.

A lane is a list of checks that run one after the other, on databases of their own.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not its script, which is bound to where the environment was made: the checkout may have moved.
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"
# Tests that start servers, runners and browsers.
WHOLE_PROGRAM_TESTS = ("tests/opencode_web", "tests/faults")
BROWSER_TESTS = ("tests/e2e",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One command to run, and the name to show for it."""

    name: str
    argv: tuple[str, ...]

    cache: Path | None = None
    """Where pytest stores which of its tests failed."""

    @property
    def second_run(self) -> "Check":
        """The same check, limited to the tests that failed."""
        return replace(self, argv=(*self.argv, "--last-failed", "--last-failed-no-failures=none"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Checks that run one after the other."""

    name: str
    checks: tuple[Check, ...]


def static_checks() -> list[Check]:
    """Everything but the tests."""
    python = (sys.executable, "-m")
    djade = (str(Path(sys.executable).parent / "djade"), "--check")
    templates = tuple(str(path) for path in sorted(ROOT.glob("templates/**/*.html")))
    commands = {
        "lint": (*python, "ruff", "check", "."),
        "format": (*python, "ruff", "format", "--check", "."),
        "templates": (*djade, *templates),
        "types": (*python, "mypy", "."),
        "import contracts": (sys.executable, "-c", LINT_IMPORTS),
        "migrations": (sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"),
    }
    return [Check(name=name, argv=argv) for name, argv in commands.items()]


def static_lanes() -> list[Lane]:
    """The checks in two halves: the type checker, which takes as long as all others together."""
    types = tuple(check for check in static_checks() if check.name == "types")
    others = tuple(check for check in static_checks() if check.name != "types")
    return [Lane(name="types", checks=types), Lane(name="static checks", checks=others)]


def pytest_lanes() -> list[Lane]:
    """All tests, in parts that take about as long as one another."""
    ignored = tuple(f"--ignore={folder}" for folder in (*WHOLE_PROGRAM_TESTS, *BROWSER_TESTS))
    parts = (
        _pytest("tests of whole programs", *WHOLE_PROGRAM_TESTS),
        _pytest("tests in a browser", *BROWSER_TESTS),
        _pytest("tests", *ignored),
    )
    return [Lane(name=part.name, checks=(part,)) for part in parts]


def _pytest(name: str, *arguments: str) -> Check:
    """Each part has a cache folder of its own, as they run side by side."""
    cache = ROOT / ".pytest_cache" / name.replace(" ", "-")
    argv = (sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments)
    return Check(name=name, argv=argv, cache=cache)
