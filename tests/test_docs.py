"""The documents say what the code does: every variable, every word, every room."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from opencode_web import __version__
from opencode_web.env import Environment
from providers.domain.errors import ErrorKind
from providers.domain.tuning import Rules
from providers.domain.types import RESENT_CODES
from providers.policy.breaker import WEIGHTS, Weight
from tests.e2e import pictures

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
ROUTING = (ROOT / "docs" / "routing.md").read_text()
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
    table = CONFIGURATION.partition("## Development")[0]
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE))
    assert named == {name.upper() for name in Environment.model_fields}


def test_nothing_outside_env_reads_the_environment() -> None:
    """The processes' starters pass it on; the program proper reads env.py."""
    for app in ("providers", "chat", "health", "api"):
        for path in (ROOT / app).rglob("*.py"):
            text = path.read_text()
            assert "os.environ[" not in text, path
            assert "getenv" not in text, path


def test_the_changelog_is_cut_at_the_version() -> None:
    """The version is in `opencode_web/__init__.py`, and nowhere else."""
    headings = re.findall(r"^## \[(.+?)\](.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == __version__
    assert re.fullmatch(r" - \d{4}-\d\d-\d\d", headings[1][1])
    assert "\nversion = " not in (ROOT / "pyproject.toml").read_text().partition("[tool.")[0]


def test_every_dependency_has_its_reason() -> None:
    """A library without one is a library too many."""
    for line in (ROOT / "requirements.in").read_text().splitlines():
        if name := re.match(r"[a-z][a-z0-9-]*", line):
            assert f"`{name.group()}`" in ARCHITECTURE, name.group()


def test_every_package_is_on_the_map() -> None:
    """One line each; what a module does, its own first sentence says."""
    packages = [path.parent for path in (ROOT / "providers").glob("*/__init__.py")]
    for package in packages:
        if package.name not in ("management", "migrations", "templatetags"):
            assert f"`providers/{package.name}`" in ARCHITECTURE, package


def test_every_file_that_is_named_is_there() -> None:
    """A way that names files is followed by people."""
    named = re.findall(r"`((?:providers|chat|health|api|opencode_web)/[\w/]+\.py)`", ARCHITECTURE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_package_opens_with_its_rule() -> None:
    """One sentence of purpose, and what may be used of it."""
    for path in (ROOT / "providers").glob("*/__init__.py"):
        if path.parent.name not in ("management", "migrations", "templatetags"):
            assert path.read_text().startswith('"""'), path


def test_every_kind_of_error_and_what_follows_is_reported() -> None:
    """The table that operators read has the columns that the code decides by."""
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", ROUTING, re.MULTILINE))
    assert set(rows) == set(ErrorKind)
    nothing = {kind for kind, row in rows.items() if row.rpartition("|")[2].strip() == "nothing"}
    assert nothing == {k for k, weight in WEIGHTS.items() if weight == Weight.NOTHING}


def test_no_number_of_the_routing_is_reported_that_is_not_there() -> None:
    """A rule that was renamed is renamed here too."""
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", ROUTING))
    rules = {each.name for each in fields(Rules)}
    assert words - {"rate_limit", "insufficient_quota", *RESENT_CODES} <= rules


def test_glossary_terms_are_the_designs() -> None:
    """One word for each thing, in alphabetical order."""
    terms = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    assert [term.lower() for term in terms] == sorted(term.lower() for term in terms)
    assert {"provider", "route", "attempt", "plan", "turn", "target"} <= set(terms)


RETIRED = ("road", "stands in", "stand in", "set aside", "on trial", "at rest", "shaky")


@pytest.mark.parametrize("word", RETIRED)
def test_no_page_or_document_uses_a_retired_word(word: str) -> None:
    """Each thing has one word, that of the glossary."""
    pages = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "docs").rglob("*.md")]
    pattern = re.compile(rf"\b{word}s?\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:120]}"
        for path in (*pages, ROOT / "README.md")
        for line in re.sub(r"\{[{%].*?[%}]\}|class=\"[^\"]*\"", "", path.read_text()).splitlines()
        if pattern.search(line)
    ]
    assert found == []


# Inversions and riddles, and the plain words for them.
PLAIN = {
    "whoever": "the person or client by its role",
    "anew": "again",
    "in vain": "without success",
    "all the same": "still",
    "way back": "to undo",
    "amounts? to": "is",
    "goes by": "uses",
    "so long as": "while",
    "came of (it|them)": "the result",
    "before the yes": "until you confirm",
    "as it always was": "as before",
    "nor (do|does)": "and ... not",
}


@pytest.mark.parametrize("phrase", PLAIN)
def test_no_document_inverts_its_sentences(phrase: str) -> None:
    """Short active sentences. The benchmarks' figures are edited with each run, so not those."""
    pages = {*(ROOT / "docs").rglob("*.md")} - {ROOT / "docs" / "benchmarks.md"}
    others = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")]
    pattern = re.compile(rf"\b{phrase}\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()} ({PLAIN[phrase]})"
        for path in (*pages, *others)
        for match in pattern.finditer(path.read_text())
    ]
    assert found == []


def test_every_picture_is_there_and_shown() -> None:
    """One that no page shows is taken for nothing."""
    assert {path.name for path in pictures.IMAGES.glob("*.png")} == pictures.shown()
