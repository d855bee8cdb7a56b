"""How every form field is drawn: a browser never cuts what is typed or pasted.

With a `maxlength` a browser shortens a paste without a word. A field's limit is checked here, on
the server, which says so beside the field and returns the whole text.
"""

from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates


class UncutField(forms.BoundField):
    """A bound field whose widget has no `maxlength`."""

    def build_widget_attrs(
        self, attrs: dict[str, Any], widget: forms.Widget | None = None
    ) -> dict[str, Any]:
        return super().build_widget_attrs(attrs, widget) | {"maxlength": False}


class Renderer(DjangoTemplates):
    """Django's own renderer with our bound field; set as `FORM_RENDERER`."""

    bound_field_class = UncutField
