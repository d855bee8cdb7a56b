"""The form that adds a language model by hand."""

from typing import Any

from django import forms

from providers.models import LanguageModel, ModelSource, Provider


class AddModelForm(forms.Form):
    """A language model added by hand."""

    model_id = forms.CharField(
        label="Model id",
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, provider: Provider, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.provider = provider

    def clean_model_id(self) -> str:
        model_id = str(self.cleaned_data["model_id"])
        if self.provider.language_models.filter(model_id=model_id).exists():
            raise forms.ValidationError("This model is already in the list.")
        return model_id

    def store(self) -> LanguageModel:
        model_id = self.cleaned_data["model_id"]
        model, _ = LanguageModel.objects.get_or_create(
            provider=self.provider,
            model_id=model_id,
            defaults={"name": model_id, "source": ModelSource.MANUAL},
        )
        return model
