"""How every form of the site is rendered: the first field that is wrong has the focus.

Django marks wrong fields with `aria-invalid` and ties their errors to them; a person who cannot see
the page also has to be brought there.
"""

from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates


class FocusedField(forms.BoundField):
    """A field that asks for the focus where it is the form's first wrong one."""

    def build_widget_attrs(
        self, attrs: dict[str, Any], widget: forms.Widget | None = None
    ) -> dict[str, Any]:
        built = super().build_widget_attrs(attrs, widget)
        if self.errors and self.name == _first_wrong(self.form):
            built["autofocus"] = True
        return built


class Renderer(DjangoTemplates):
    """Django's own, with fields that ask for the focus."""

    bound_field_class = FocusedField


def _first_wrong(form: forms.BaseForm) -> str:
    """The name of the first visible field with an error, in the form's order."""
    visible = (field for field in form.visible_fields() if field.errors)
    return next((field.name for field in visible), "")
