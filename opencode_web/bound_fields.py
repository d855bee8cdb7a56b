"""How every form field is drawn: no browser cuts its text, and the first wrong one has the focus.

With a `maxlength` a browser shortens a paste without a word. A field's limit is checked here, on
the server, which says so beside the field and returns the whole text. Django marks wrong fields
with `aria-invalid` and ties their errors to them; a person who cannot see them is brought there.
"""

from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates


class SiteField(forms.BoundField):
    """A bound field without `maxlength`; the first wrong one of a form has `autofocus`."""

    def build_widget_attrs(
        self, attrs: dict[str, Any], widget: forms.Widget | None = None
    ) -> dict[str, Any]:
        built = super().build_widget_attrs(attrs, widget) | {"maxlength": False}
        if self.errors and self.name == _first_wrong(self.form):
            built["autofocus"] = True
        return built


class Renderer(DjangoTemplates):
    """Django's own renderer with our bound field; set as `FORM_RENDERER`."""

    bound_field_class = SiteField


def _first_wrong(form: forms.BaseForm) -> str:
    """The name of the first visible field with an error, in the form's order."""
    visible = (field for field in form.visible_fields() if field.errors)
    return next((field.name for field in visible), "")
