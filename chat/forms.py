"""What people type into the chat, cleaned into what the flow takes."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django import forms
from django.forms.models import ModelChoiceIterator

from chat.models import Conversation
from providers.models import LanguageModel

LONGEST = 400_000  # characters; far beyond any model's context, well below the request's limit


class _ByProvider(ModelChoiceIterator):  # type: ignore[type-arg] # not generic at run time
    """The choices in groups, one for each provider."""

    def __iter__(self) -> Iterator[Any]:
        models = self.queryset.select_related("provider").order_by("provider__name", "name")
        for name, group in groupby(models, key=lambda model: model.provider.name):
            yield name, [self.choice(model) for model in group]


class LanguageModelField(forms.ModelChoiceField):  # type: ignore[type-arg]
    iterator = _ByProvider


class MessageForm(forms.Form):
    """The composer: a text, and the model that is to answer it."""

    text = forms.CharField(
        max_length=LONGEST,
        strip=False,
        widget=forms.Textarea(
            attrs={"id": "prompt", "rows": 1, "placeholder": "Write a message", "maxlength": None}
        ),
        error_messages={
            "required": "Write a message first.",
            "max_length": "This message is too long: %(show_value)d characters,"
            " %(limit_value)d are allowed.",
        },
    )
    model = LanguageModelField(
        queryset=LanguageModel.objects.none(),
        empty_label=None,
        widget=forms.Select(
            attrs={"id": "composer-model", "class": "composer-model", "aria-label": "Model"}
        ),
        error_messages={
            "required": "Pick a model.",
            "invalid_choice": "This model is not offered any more. Pick another one.",
        },
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - tells mypy
        field.queryset = LanguageModel.objects.usable()
        field.choices = list(iter(_ByProvider(field)))  # read once, not at each look

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"].replace("\r\n", "\n").replace("\0", "")
        if not text.strip():
            raise forms.ValidationError("Write a message first.")
        return text.strip("\n")

    def problems(self) -> list[str]:
        return [str(problem) for problems in self.errors.values() for problem in problems]


class TitleForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Conversation
        fields = ("title",)
        widgets = {"title": forms.TextInput(attrs={"autofocus": True})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["title"].required = True
