"""Read a YAML document within bounds: anchors and merge keys count at their expanded size. No I/O.

The parser's events are counted before a value is built, so that a small file that expands into a
large one ("billion laughs"), or nests deeply, is refused at once.
"""

import json
from collections.abc import Iterable
from typing import Any

import yaml

from providers.importing.schema import Malformed

MAX_NODES = 150_000  # 7,000 models of LiteLLM's config.yaml
TEXT_PER_NODE = 256  # characters of a text that count as one more node
MAX_DEPTH = 64
MAX_NUMBER_LENGTH = 100  # characters; longer numbers stay text: YAML's base 60 is quadratic

_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc, valid-type]
    """The safe loader, with numbers that cannot take long to compute."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        if len(node.value) > MAX_NUMBER_LENGTH:
            return node.value
        of_integers = node.tag == "tag:yaml.org,2002:int"
        return (self.construct_yaml_int if of_integers else self.construct_yaml_float)(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def load(source: str) -> Any:
    """The document as JSON has it: dates and numbers as names become texts.

    Raises Malformed with the line, and with nothing of the text.
    """
    try:
        _check(yaml.parse(source, Loader=_BASE))
        # The loader is a subclass of the safe one.
        return json.loads(json.dumps(yaml.load(source, Loader=_Loader), default=str))  # noqa: S506
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise Malformed(f"The file, line {line}: this is not valid YAML ({exc.problem}).") from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError):
        raise Malformed("The file is not valid YAML.") from None


def _check(events: Iterable[yaml.Event]) -> None:
    """Raises Malformed where the document is larger or deeper than the bounds."""
    size = _Size()
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            size.add_alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            size.open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            size.close()
        elif isinstance(event, yaml.ScalarEvent):
            size.add(event, 1 + len(event.value) // TEXT_PER_NODE)


class _Size:
    """The nodes of a document and its depth so far, each alias at the size of what it repeats."""

    def __init__(self) -> None:
        self._nodes = 0
        # For each open collection: its anchor, the count before it, and the depth below it.
        self._open: list[tuple[str | None, int, int]] = []
        self._deepest = 0  # below the innermost open collection
        self._anchors: dict[str, tuple[int, int]] = {}  # nodes and depth of each

    def add(self, event: yaml.NodeEvent, nodes: int, depth: int = 0) -> None:
        """Count a node that is complete, and remember it where it has an anchor."""
        self._nodes += nodes
        self._deepest = max(self._deepest, depth)
        if self._nodes > MAX_NODES:
            raise _refuse(event, f"it has more than {MAX_NODES} values, with its aliases expanded")
        if len(self._open) + depth > MAX_DEPTH:
            raise _refuse(event, f"it is nested deeper than {MAX_DEPTH} levels")
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = (nodes, depth)

    def add_alias(self, event: yaml.AliasEvent) -> None:
        if any(anchor == event.anchor for anchor, _, _ in self._open):
            raise _refuse(event, "an alias is inside of what it repeats")
        # An unknown anchor is the loader's to report.
        self.add(event, *self._anchors.get(event.anchor or "", (1, 0)))

    def open(self, event: yaml.CollectionStartEvent) -> None:
        self._open.append((event.anchor, self._nodes, self._deepest))
        self._deepest = 0
        self.add(event, 1)

    def close(self) -> None:
        anchor, before, deepest = self._open.pop()
        depth = self._deepest + 1
        if anchor:
            self._anchors[anchor] = (self._nodes - before, depth)
        self._deepest = max(deepest, depth)


def _refuse(event: yaml.NodeEvent, why: str) -> Malformed:
    line = event.start_mark.line + 1 if event.start_mark else 1
    return Malformed(f"The file, line {line}: this YAML is not read: {why}.")
