"""Reads a document field by field, and reports every field that was not read. No I/O.

A `Section` is one object of the document. Whatever is read through it counts as used;
`FieldUsage.list_unused` names everything else, grouped, so that no field is dropped silently.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from providers.importing.schema import Ignored, Malformed, expect

LARGEST_NUMBER = 2_147_483_647  # of a PositiveIntegerField
_SHOWN = 60  # characters of a name in a report

type Path = tuple[str | int, ...]


@dataclass(slots=True)
class FieldUsage:
    """Which parts of one document were read. The members of what is `opened` count one by one."""

    used: set[Path] = field(default_factory=set)
    opened: dict[Path, bool] = field(default_factory=dict)  # whether members are named by people
    ignored: Counter[str] = field(default_factory=Counter)

    def list_unused(self, document: Any) -> tuple[Ignored, ...]:
        """Every name that was not read, each once with its count."""
        counts = Counter(self.ignored)
        counts.update(self._walk(document, (), ()))
        return tuple(Ignored(name, count) for name, count in sorted(counts.items()))

    def _walk(self, value: Any, path: Path, label: tuple[str, ...]) -> Iterator[str]:
        if path in self.used:
            return
        if path not in self.opened:
            # Whole sections of a file are named by what is in them.
            inner = value if len(path) == 1 and isinstance(value, Mapping) else {}
            names = [(*label, _printable(each)) for each in inner] or [label]
            yield from map(".".join, names)
            return
        members: Iterable[tuple[Any, Any]]
        members = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, member in members:
            shown = () if self.opened[path] else (_printable(name),)
            yield from self._walk(member, (*path, name), (*label, *shown))


def _printable(name: object) -> str:
    """A name from a file, safe to show in a sentence."""
    text = "".join(each if each.isprintable() else "?" for each in str(name)[:_SHOWN])
    return text or '""'


@dataclass(frozen=True, slots=True)
class Section:
    """One object of a document, at a place that errors name. Every reader raises Malformed."""

    fields: Mapping[str, Any]
    place: str
    path: Path
    usage: FieldUsage

    @classmethod
    def of_document(cls, document: Any, usage: FieldUsage | None = None) -> "Section":
        """The document itself."""
        usage = usage or FieldUsage()
        usage.opened[()] = False
        return cls(expect(document, dict, ""), "", (), usage)

    def __contains__(self, name: str) -> bool:
        return self.fields.get(name) is not None

    def where(self, name: str) -> str:
        return f"{self.place}.{name}".lstrip(".")

    def take(self, name: str) -> Any:
        """The raw value, all of it counted as used; None if absent."""
        self.usage.used.add((*self.path, name))
        return self.fields.get(name)

    def ignore(self, name: str, times: int = 1) -> None:
        """Reports something that was read and is not imported."""
        self.usage.ignored[name] += times

    def use_all(self) -> None:
        """Count all fields of the object as used: they are reported elsewhere."""
        self.usage.used.add(self.path)

    def text(self, name: str) -> str:
        value = self.take(name)
        return "" if value is None else expect(value, str, self.where(name))

    def words(self, name: str) -> str:
        """A text, which may be written as a number."""
        value = self.take(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        return "" if value is None else expect(value, str, self.where(name))

    def flag(self, name: str) -> bool | None:
        value = self.take(name)
        return None if value is None else expect(value, bool, self.where(name))

    def names(self, name: str) -> list[str] | None:
        """A list of texts; None if absent."""
        value = self.take(name)
        if value is None:
            return None
        where = self.where(name)
        return [expect(each, str, where) for each in expect(value, list, where)]

    def number(self, name: str) -> int | None:
        """A whole number above zero; "8000" and 8000.0 are accepted."""
        value = self.take(name)
        return None if value is None else whole_number(value, self.where(name))

    def price(self, name: str) -> Decimal | None:
        value = self.take(name)
        return None if value is None else price(value, self.where(name))

    def price_per_token(self, name: str) -> Decimal | None:
        value = self.take(name)
        return None if value is None else price(value, self.where(name), 1_000_000)

    def optional[T](self, read: "Callable[[Section, str], T]", name: str) -> T | None:
        """What a reader returns; a malformed value is reported and otherwise ignored."""
        try:
            return read(self, name)
        except Malformed as exc:
            self.ignore(str(exc).removesuffix("."))
            return None

    def table(self, name: str) -> "Section":
        """An object below this one; empty if absent."""
        value = self.fields.get(name)
        path = (*self.path, name)
        if value is None:
            self.usage.used.add(path)
            return Section({}, self.where(name), path, self.usage)
        fields = expect(value, dict, self.where(name))
        self.usage.opened[path] = False
        return Section(fields, self.where(name), path, self.usage)

    def table_if_any(self, name: str) -> "Section":
        """The same; anything but an object stays unread and is reported."""
        value = self.fields.get(name)
        if value is None or isinstance(value, dict):
            return self.table(name)
        return Section({}, self.where(name), (*self.path, name), self.usage)

    def named_members(self, name: str) -> "Section":
        """An object whose members have names chosen by people."""
        outer = self.table(name)
        if name in self:
            self.usage.opened[outer.path] = True
        return outer

    def rows(self, name: str) -> list[Any]:
        """The raw members of a list; `row` makes a section of one."""
        values = expect(self.fields.get(name), list, self.where(name))
        self.usage.opened[(*self.path, name)] = True
        return values

    def row(self, name: str, number: int) -> "Section":
        path, place = (*self.path, name, number), f"{self.where(name)}[{number}]"
        self.usage.used.add(path)  # until it is known to be an object
        fields = expect(self.fields[name][number], dict, place)
        self.usage.used.discard(path)
        self.usage.opened[path] = False
        return Section(fields, place, path, self.usage)


def differences(facts: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """The names of facts that differ from those stored for the same model; parameters by name."""
    names = []
    for name, value in facts.items():
        if name in ("name", "enabled") or name not in stored or stored[name] == value:
            continue
        inner = value if isinstance(value, Mapping) else {}
        names += [f"{name}.{key}{_members(each)}" for key, each in inner.items()] or [name]
    return names


def _members(value: Any) -> str:
    return f" ({', '.join(map(_printable, value))})" if isinstance(value, Mapping) and value else ""


def whole_number(value: Any, place: str) -> int:
    """A whole number above zero. Raises Malformed."""
    try:
        number = Decimal(str(value).replace("_", "").strip()) if _is_number(value) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or number != number.to_integral_value():
        raise Malformed(f"{place}: a whole number is expected here.")
    if not 0 < number <= LARGEST_NUMBER:
        raise Malformed(f"{place}: this number is out of bounds.")
    return int(number)


def price(value: Any, place: str, factor: int = 1) -> Decimal:
    """USD per million tokens, as the column keeps them. Raises Malformed."""
    try:
        number = Decimal(str(value).strip()) * factor if _is_number(value) else None
    except InvalidOperation:
        number = None
    if number is None:
        raise Malformed(f"{place}: a price must be a number.")
    if not number.is_finite() or not 0 <= number < 1_000_000:
        raise Malformed(f"{place}: this price is out of bounds.")
    return round(number, 6)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)
