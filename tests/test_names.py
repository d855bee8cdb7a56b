"""One name for each thing: retired words stay away from names, docstrings and comments."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("api", "benchmarks", "chat", "health", "opencode_web", "providers")

# They said several things, or one that has a standard term.
RETIRED = frozenset(
    [
        "road",
        "roads",
        "told",
        "tell",
        "tells",
        "teller",
        "tellers",
        "telling",
        "rested",
        "sheet",
        "sheets",
        "hurried",
        "ears",
        "spare",
        "spares",
        "evidence",
        "pulse",
        "flight",
        "flights",
    ]
)
# Vague in a name: it should say what the value is. Sentences may use them.
VAGUE = frozenset(["said", "say", "says", "asked", "kept", "wanted", "whole", "seen"])
VAGUE_ALONE = frozenset(["found", "known", "follow", "mirror", "within"])
TEXT = re.compile(
    r"\b(roads?|told|tells?|teller|stands? in|stood in|at rest|resting|let go|lets go|sets? aside"
    r"|on trial|anew)\b",
    re.IGNORECASE,
)
FIELD_TERMS = re.compile(r"single_?flight|in_?flight", re.IGNORECASE)  # of the field
# Published (settings, database columns), a library's, or right as they are.
ALLOWED = frozenset(
    [
        "rests",
        "timeout_whole",
        "TIMEOUT_WHOLE",
        "first_seen",
        "last_seen",
        "seen_at",
        "said",
        "whole_number",
        "whole",
    ]
) | {"WHOLE_PROGRAM_TESTS"}
PARTICIPLES = frozenset(
    [
        "found",
        "kept",
        "made",
        "told",
        "said",
        "seen",
        "known",
        "held",
        "sent",
        "left",
        "lost",
        "written",
        "taken",
        "given",
        "shown",
        "done",
        "gone",
        "begun",
        "chosen",
        "broken",
        "met",
    ]
)
VERBS_IN_ED = frozenset({"succeed", "feed", "seed", "embed", "proceed", "need"})
SAME_NAME = frozenset({"Command"})  # Django's management commands
DJANGO_NAMES = frozenset({"expired", "closed"})  # chained querysets read as adjectives


@cache
def sources() -> dict[Path, ast.Module]:
    folders = (*APPS, "tests")
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    kept_out = ("migrations", "__pycache__")
    return {
        path.relative_to(ROOT): ast.parse(path.read_text())
        for path in paths
        if not set(kept_out) & set(path.parts)
    }


def is_test(path: Path) -> bool:
    return path.parts[0] == "tests"


def named(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that a module gives: of a function, class, argument, variable or attribute."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr


def words_of(name: str) -> set[str]:
    name = FIELD_TERMS.sub("", name)
    return set(re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().strip("_").split("_"))


def test_no_name_uses_a_retired_word() -> None:
    wrong = [
        f"{path}:{line}: {name}"
        for path, tree in sources().items()
        for line, name in named(tree)
        if name not in ALLOWED
        and (
            words_of(name) & RETIRED
            or (
                not is_test(path)
                and (words_of(name) & VAGUE or name.strip("_").lower() in VAGUE_ALONE)
            )
        )
    ]
    assert wrong == []


def test_no_docstring_or_comment_uses_a_retired_word() -> None:
    wrong = []
    for path in sources():
        if path == Path("tests/test_names.py"):
            continue
        for token in tokenize.generate_tokens(io.StringIO((ROOT / path).read_text()).readline):
            text = token.string
            is_docstring = token.type == tokenize.STRING and text.startswith('"""')
            if token.type != tokenize.COMMENT and not is_docstring:
                continue
            wrong += [f"{path}:{token.start[0]}: {m.group()}" for m in TEXT.finditer(text)]
    assert wrong == []


def test_functions_are_verbs_and_no_bare_participles() -> None:
    """Properties may be adjectives, as may what a query set chains."""
    wrong = []
    for path, tree in sources().items():
        for node in () if is_test(path) else ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            name = node.name.strip("_")
            is_property = any("property" in ast.unparse(each) for each in node.decorator_list)
            ends_in_ed = name.endswith("ed") and name not in VERBS_IN_ED
            bare = "_" not in name and (name in PARTICIPLES or ends_in_ed)
            if bare and not is_property and name not in DJANGO_NAMES:
                wrong.append(f"{path}:{node.lineno}: {node.name}")
    assert wrong == []


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path, tree in sources().items():
        if not is_test(path) and path.parts[0] != "benchmarks":
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and node.name not in SAME_NAME:
                    places[node.name].append(str(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("name", ["told", "road_of", "TheRoad", "kept_told"])
def test_the_check_finds_a_retired_word(name: str) -> None:
    assert words_of(name) & RETIRED
