"""The documents say what the code does: every variable, every word, every room."""

import re
from pathlib import Path

import pytest

from opencode_web.env import Environment

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize("name", sorted(Environment.model_fields))
def test_every_variable_is_documented(name: str) -> None:
    """With the description and the example that its error message shows."""
    field = Environment.model_fields[name]
    row = next(line for line in CONFIGURATION.splitlines() if f"| `{name.upper()}` |" in line)
    assert str(field.description) in row
    assert str((field.examples or [""])[0]) in row


def test_no_variable_is_documented_that_is_not_read() -> None:
    """A variable that was removed leaves the documents too."""
    table = CONFIGURATION.partition("## Beside the program")[0]
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE))
    assert named == {name.upper() for name in Environment.model_fields}


def test_nothing_outside_env_reads_the_environment() -> None:
    """The processes' starters pass it on; the program proper reads env.py."""
    for app in ("providers", "chat", "health", "api"):
        for path in (ROOT / app).rglob("*.py"):
            text = path.read_text()
            assert "os.environ[" not in text, path
            assert "getenv" not in text, path


def test_every_dependency_has_its_reason() -> None:
    """A library without one is a library too many."""
    for line in (ROOT / "requirements.in").read_text().splitlines():
        if name := re.match(r"[a-z][a-z0-9-]*", line):
            assert f"`{name.group()}`" in ARCHITECTURE, name.group()


def test_every_room_is_on_the_map() -> None:
    """A module that nobody described is a module nobody decided on."""
    for app in ("providers", "chat", "health", "api", "opencode_web"):
        for path in (ROOT / app).glob("*.py"):
            if path.stem not in ("__init__", "__main__", "apps", "urls", "admin"):
                assert f"`{app}/{path.name}`" in ARCHITECTURE, path


def test_glossary_terms_are_the_designs() -> None:
    """One word for each thing, in alphabetical order."""
    terms = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    assert [term.lower() for term in terms] == sorted(term.lower() for term in terms)
    assert {"provider", "route", "attempt", "plan", "turn", "target"} <= set(terms)
