"""The forms of a virtual model, and of one more member."""

from typing import TYPE_CHECKING, Any

from django import forms

from providers.models import LanguageModel, VirtualModel
from providers.models.virtual_model import MAX_WEIGHT

if TYPE_CHECKING:
    _VirtualModelForm = forms.ModelForm[VirtualModel]
else:
    _VirtualModelForm = forms.ModelForm


class VirtualModelForm(_VirtualModelForm):
    """Its name, strategy and words; the members have forms of their own."""

    class Meta:
        model = VirtualModel
        fields = ("name", "strategy", "description", "notes", "enabled")
        labels = {"enabled": "In use", "notes": "Notes"}
        help_texts = {
            "description": "Shown in lists of models.",
            "notes": "For operators only.",
        }
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
            "strategy": forms.RadioSelect,
            "notes": forms.Textarea(attrs={"rows": 3}),
        }


class WeightForm(forms.Form):
    """A member's share of the requests."""

    weight = forms.IntegerField(
        label="Weight",
        min_value=0,
        max_value=MAX_WEIGHT,
        initial=1,
        help_text="For the strategy Weighted; 0 answers only where the others fail.",
    )


class AddMemberForm(WeightForm):
    """One more member, by the full name of its model."""

    model = forms.CharField(
        label="Model",
        max_length=300,
        help_text="Provider and model, such as acme/gpt-4o.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "list": "member-models"}
        ),
    )
    field_order = ("model", "weight")

    def clean_model(self) -> LanguageModel:
        name = str(self.cleaned_data["model"]).strip()
        slug, _, model_id = name.partition("/")
        models = LanguageModel.objects.present().select_related("provider")
        named = models.filter(provider__slug=slug, model_id=model_id).first()
        model = named or models.filter(alias=name).first()
        if model is None:
            raise forms.ValidationError("There is no model with this name. Use provider/model.")
        return model

    def member(self) -> tuple[LanguageModel, int]:
        """The model and its weight."""
        cleaned: dict[str, Any] = self.cleaned_data
        return cleaned["model"], cleaned["weight"]
