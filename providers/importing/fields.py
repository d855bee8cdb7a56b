"""Read a document field by field and keep account of what was read: the rest is reported. No I/O.

A `Section` is one object of the document. Whatever is read through it counts as used; `unused`
names everything else, grouped, so that nothing a file holds is left out silently.
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
class Account:
    """Which parts of one document were read. `opened`: objects and lists, by how they name their
    members; their members are accounted for one by one."""

    used: set[Path] = field(default_factory=set)
    opened: dict[Path, bool] = field(default_factory=dict)  # whether members are named by people
    ignored: Counter[str] = field(default_factory=Counter)

    def unused(self, document: Any) -> tuple[Ignored, ...]:
        """What nobody read, each name once with how often it is there."""
        found = Counter(self.ignored)
        found.update(self._walk(document, (), ()))
        return tuple(Ignored(name, count) for name, count in sorted(found.items()))

    def _walk(self, value: Any, path: Path, label: tuple[str, ...]) -> Iterator[str]:
        if path in self.used:
            return
        if path not in self.opened:
            # Whole sections of a file are named by what is in them.
            inner = value if len(path) == 1 and isinstance(value, Mapping) else {}
            names = [(*label, _shown(each)) for each in inner] or [label]
            yield from map(".".join, names)
            return
        members: Iterable[tuple[Any, Any]]
        members = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, member in members:
            shown = () if self.opened[path] else (_shown(name),)
            yield from self._walk(member, (*path, name), (*label, *shown))


def _shown(name: object) -> str:
    """A name of a file as it may be written into a sentence."""
    text = "".join(each if each.isprintable() else "?" for each in str(name)[:_SHOWN])
    return text or '""'


@dataclass(frozen=True, slots=True)
class Section:
    """One object of a document, at a place that errors name. Every reader raises Malformed."""

    fields: Mapping[str, Any]
    place: str
    path: Path
    account: Account

    @classmethod
    def whole(cls, document: Any, account: Account | None = None) -> "Section":
        """The document itself."""
        made = account or Account()
        made.opened[()] = False
        return cls(expect(document, dict, ""), "", (), made)

    def __contains__(self, name: str) -> bool:
        return self.fields.get(name) is not None

    def where(self, name: str) -> str:
        return f"{self.place}.{name}".lstrip(".")

    def take(self, name: str) -> Any:
        """A value as it is, all of it used; None where there is none."""
        self.account.used.add((*self.path, name))
        return self.fields.get(name)

    def ignore(self, name: str, times: int = 1) -> None:
        """Report something of this section that was read and is not kept."""
        self.account.ignored[name] += times

    def use_all(self) -> None:
        """The whole object is accounted for elsewhere."""
        self.account.used.add(self.path)

    def text(self, name: str) -> str:
        found = self.take(name)
        return "" if found is None else expect(found, str, self.where(name))

    def words(self, name: str) -> str:
        """A text, also where it was written as a number."""
        found = self.take(name)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return str(found)
        return "" if found is None else expect(found, str, self.where(name))

    def flag(self, name: str) -> bool | None:
        found = self.take(name)
        return None if found is None else expect(found, bool, self.where(name))

    def names(self, name: str) -> list[str] | None:
        """A list of texts; None where there is none."""
        found = self.take(name)
        if found is None:
            return None
        where = self.where(name)
        return [expect(each, str, where) for each in expect(found, list, where)]

    def number(self, name: str) -> int | None:
        """A whole number above zero, also one in digits or with a fraction of zero."""
        found = self.take(name)
        return None if found is None else whole_number(found, self.where(name))

    def price(self, name: str) -> Decimal | None:
        found = self.take(name)
        return None if found is None else price(found, self.where(name))

    def price_per_token(self, name: str) -> Decimal | None:
        found = self.take(name)
        return None if found is None else price(found, self.where(name), 1_000_000)

    def optional[T](self, read: "Callable[[Section, str], T]", name: str) -> T | None:
        """What a reader finds; what is badly written is reported, and stops nothing."""
        try:
            return read(self, name)
        except Malformed as exc:
            self.ignore(str(exc).removesuffix("."))
            return None

    def table(self, name: str) -> "Section":
        """An object below this one; an empty one where there is none."""
        found = self.fields.get(name)
        path = (*self.path, name)
        if found is None:
            self.account.used.add(path)
            return Section({}, self.where(name), path, self.account)
        fields = expect(found, dict, self.where(name))
        self.account.opened[path] = False
        return Section(fields, self.where(name), path, self.account)

    def table_if_any(self, name: str) -> "Section":
        """The same; what is no object is left unread, and so reported."""
        found = self.fields.get(name)
        if found is None or isinstance(found, dict):
            return self.table(name)
        return Section({}, self.where(name), (*self.path, name), self.account)

    def named(self, name: str) -> "Section":
        """An object whose members people have named."""
        outer = self.table(name)
        if name in self:
            self.account.opened[outer.path] = True
        return outer

    def rows(self, name: str) -> list[Any]:
        """The members of a list as they are; `row` makes a section of one."""
        found = expect(self.fields.get(name), list, self.where(name))
        self.account.opened[(*self.path, name)] = True
        return found

    def row(self, name: str, number: int) -> "Section":
        path, place = (*self.path, name, number), f"{self.where(name)}[{number}]"
        self.account.used.add(path)  # until it is known to be an object
        fields = expect(self.fields[name][number], dict, place)
        self.account.used.discard(path)
        self.account.opened[path] = False
        return Section(fields, place, path, self.account)


def differences(facts: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
    """The facts that differ from those that are kept of the same model; parameters by name."""
    found = []
    for name, value in facts.items():
        if name in ("name", "enabled") or name not in kept or kept[name] == value:
            continue
        inner = value if isinstance(value, Mapping) else {}
        found += [f"{name}.{key}{_members(each)}" for key, each in inner.items()] or [name]
    return found


def _members(value: Any) -> str:
    return f" ({', '.join(map(_shown, value))})" if isinstance(value, Mapping) and value else ""


def whole_number(value: Any, place: str) -> int:
    """A whole number above zero. Raises Malformed."""
    try:
        found = Decimal(str(value).replace("_", "").strip()) if _is_number(value) else None
    except InvalidOperation:
        found = None
    if found is None or not found.is_finite() or found != found.to_integral_value():
        raise Malformed(f"{place}: a whole number is expected here.")
    if not 0 < found <= LARGEST_NUMBER:
        raise Malformed(f"{place}: this number is out of bounds.")
    return int(found)


def price(value: Any, place: str, factor: int = 1) -> Decimal:
    """USD per million tokens, as the column keeps them. Raises Malformed."""
    try:
        number = Decimal(str(value).strip()) * factor if _is_number(value) else None
    except InvalidOperation:
        number = None
    if number is None:
        raise Malformed(f"{place}: a price is a number.")
    if not number.is_finite() or not 0 <= number < 1_000_000:
        raise Malformed(f"{place}: this price is out of bounds.")
    return round(number, 6)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)
