"""`@frozen` classes compare by content; a change makes a new instance."""

from dataclasses import field, replace

from providers.domain.frozen import frozen


@frozen
class Place:
    name: str
    notes: dict[str, str] = field(default_factory=dict, compare=False, repr=False)


def test_equal_content_means_equal_instances() -> None:
    assert Place(name="here") == Place(name="here", notes={"a": "b"})
    assert len({Place(name="here"), Place(name="here"), Place(name="there")}) == 2


def test_replace_makes_a_new_instance() -> None:
    here = Place(name="here", notes={"a": "b"})
    there = replace(here, name="there")
    assert (here.name, there.name, there.notes) == ("here", "there", {"a": "b"})
    assert repr(there) == "Place(name='there')"
    assert not hasattr(there, "__dict__")
