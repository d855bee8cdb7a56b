"""Forms of the site: a person who cannot see colours gets to the first wrong field."""

from django import forms


class Two(forms.Form):
    hidden = forms.CharField(widget=forms.HiddenInput, required=False)
    first = forms.CharField(max_length=3)
    second = forms.IntegerField()


def focused(form: forms.Form) -> list[str]:
    """The fields that ask for the focus."""
    return [field.name for field in form if "autofocus" in str(field)]


def test_the_first_wrong_field_alone_asks_for_the_focus() -> None:
    """And every wrong one is marked."""
    form = Two({"first": "", "second": "x"})
    assert focused(form) == ["first"]
    assert all('aria-invalid="true"' in str(form[name]) for name in ("first", "second"))
    assert focused(Two({"first": "a", "second": "x"})) == ["second"]


def test_no_browser_cuts_a_text() -> None:
    """The limit is checked on the server, which says so."""
    assert "maxlength" not in str(Two())
    assert Two({"first": "abcd", "second": "1"}).has_error("first")


def test_a_good_or_empty_form_leaves_the_focus_alone() -> None:
    """Nothing to look at."""
    assert focused(Two()) == []
    assert focused(Two({"first": "a", "second": "1"})) == []
