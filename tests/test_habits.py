"""Habits of the unit tests: a clock is passed in, and nothing waits or measures by the real one.

A test that sleeps is slow on a fast machine and wrong on a slow one, and a limit on elapsed time
measures the machine. Pass a clock in, run a coroutine in `tests/virtual_time.py`, or wait for a
condition with `tests/polling.py`. Tests of whole programs may pace their load with sleeps.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from opencode_web.launcher.checks import BROWSER_TESTS, WHOLE_PROGRAM_TESTS

ROOT = Path(__file__).resolve().parent.parent
SLEEPERS = {
    "tests/polling.py": "the one place that waits for a condition",
    "tests/virtual_time.py": "its clock jumps",
    "tests/upstreams/other_endpoints.py": "the fake provider of pass-through endpoints, likewise",
    "tests/upstreams/speech.py": "the fake provider, whose answers are slow where a test says so",
}
CLOCKS = frozenset(
    ["time.monotonic", "time.perf_counter", "time.time", "monotonic", "perf_counter"]
)
LOOP_CLOCKS = frozenset(["loop.time", "asyncio.get_running_loop().time"])


@cache
def unit_tests() -> dict[str, ast.Module]:
    paths = (str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("*.py")))
    return {
        path: ast.parse((ROOT / path).read_text())
        for path in paths
        if not path.startswith((*WHOLE_PROGRAM_TESTS, *BROWSER_TESTS)) and path not in SLEEPERS
    }


def sleeps(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls of a sleep; not `asyncio.sleep(0)`, which only lets other tasks run."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="sleep") | ast.Name(id="sleep"), args=arguments):
                match arguments:
                    case [ast.Constant(value=0), *_]:
                        pass
                    case _:
                        yield node


def reads_clock(node: ast.AST, clocks: frozenset[str]) -> bool:
    calls = (each for each in ast.walk(node) if isinstance(each, ast.Call))
    return any(ast.unparse(call.func) in clocks for call in calls)


def timed_asserts(tree: ast.AST) -> Iterator[ast.Assert]:
    """The asserts that compare a clock, or names that hold a clock's value. The clock of an event
    loop is a real one, but in a module that runs its coroutines in virtual time."""
    imported = {each.name for each in ast.walk(tree) if isinstance(each, ast.alias)}
    clocks = CLOCKS if "virtual_time" in imported else CLOCKS | LOOP_CLOCKS
    times = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and reads_clock(node.value, clocks)
        for target in ast.walk(node)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and any(
            reads_clock(each, clocks) or (isinstance(each, ast.Name) and each.id in times)
            for compare in ast.walk(node.test)
            if isinstance(compare, ast.Compare)
            for each in ast.walk(compare)
        ):
            yield node


def places(find: Callable[[ast.Module], Iterator[ast.Call | ast.Assert]]) -> list[str]:
    return [f"{path}:{node.lineno}" for path, tree in unit_tests().items() for node in find(tree)]


def test_no_unit_test_sleeps() -> None:
    found = [
        f"{path}:{call.lineno}" for path, tree in unit_tests().items() for call in sleeps(tree)
    ]
    assert found == []


def test_no_unit_test_asserts_on_elapsed_time() -> None:
    assert places(timed_asserts) == []


def test_each_exception_sleeps() -> None:
    """An entry that is not needed any more goes."""
    for path in SLEEPERS:
        assert list(sleeps(ast.parse((ROOT / path).read_text()))), path


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("time.sleep(1)", 1),
        ("await asyncio.sleep(0.1)", 1),
        ("await asyncio.sleep(pause)", 1),
        ("await asyncio.sleep(0, 'there')", 0),
    ],
)
def test_the_check_finds_a_sleep(code: str, expected: int) -> None:
    assert len(list(sleeps(ast.parse(code)))) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("began = time.monotonic()\nassert time.monotonic() - began < 5", 1),
        ("took = perf_counter() - began\nassert took < 5", 1),
        ("left = loop.time()\nassert closed_at - left < 1", 1),
        ("assert clock[0] - began < 5", 0),
    ],
)
def test_the_check_finds_an_assert_on_elapsed_time(code: str, expected: int) -> None:
    assert len(list(timed_asserts(ast.parse(code)))) == expected
