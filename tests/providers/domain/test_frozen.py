"""Values are told apart by what they hold, and made anew to change."""

from dataclasses import field, replace

from providers.domain.frozen import value


@value
class Place:
    name: str
    notes: dict[str, str] = field(default_factory=dict, compare=False, repr=False)


def test_two_of_the_same_content_are_one() -> None:
    assert Place(name="here") == Place(name="here", notes={"a": "b"})
    assert len({Place(name="here"), Place(name="here"), Place(name="there")}) == 2


def test_a_changed_one_is_another() -> None:
    here = Place(name="here", notes={"a": "b"})
    there = replace(here, name="there")
    assert (here.name, there.name, there.notes) == ("here", "there", {"a": "b"})
    assert repr(there) == "Place(name='there')"
    assert not hasattr(there, "__dict__")
