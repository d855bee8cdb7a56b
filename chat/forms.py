"""The chat's forms: validate a message and a title."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.urls import reverse

from chat import choices
from chat.choices import Choice
from chat.models import Conversation
from providers.catalog import search
from providers.models import LanguageModel, Provider, VirtualModel

FEW = 12  # models; so few need no group "Used last"
MAX_SHOWN = 200  # models in the picker; where there are more, its search asks for the others
MAX_RESULTS = 50  # answers to a search
USED_LAST = 20  # conversations looked through for the models used last
MAX_CHARACTERS = 400_000  # far beyond any model's context, below the limit of a request
TOO_LONG = f"This message is too long: {{count}} characters. The limit is {MAX_CHARACTERS:,}."
FAVOURITES = "Favourites"
PICK = ("", "Pick a model")


class LanguageModelField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Accepts any model in use, or a virtual one; lists the likely ones where there are many."""

    def to_python(self, value: Any) -> Choice | None:
        if value in self.empty_values:
            return None
        choice = choices.find(str(value))
        if choice is None:
            raise forms.ValidationError(self.error_messages["invalid_choice"], "invalid_choice")
        return choice


class ModelSelect(forms.Select):
    """A list of models; each option carries its provider's name and health, for the menu."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.providers: Mapping[str, Provider] = {}

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        if provider := self.providers.get(str(value)):
            shown = {"data-provider": provider.name, "data-status": provider.health_status}
            option["attrs"] |= shown
        return option


type Groups = list[tuple[str, list[LanguageModel]]]


def likely_models(user: User, current: int | None = None) -> Groups:
    """What the picker shows at first: favourites, those used last, then all while they are few."""
    usable = LanguageModel.objects.usable().select_related("provider")
    rows = list(usable.order_by("provider__name", "name")[: MAX_SHOWN + 1])
    starred = list(usable.filter(favourites__user=user).order_by("name"))
    first: list[tuple[str, list[LanguageModel]]] = [(FAVOURITES, starred)]
    if len(rows) > FEW:
        used = Conversation.objects.of(user).exclude(language_model=None)[:USED_LAST]
        last = {pk for pk in [current, *used.values_list("language_model", flat=True)] if pk}
        recent = usable.filter(pk__in=last - {model.pk for model in starred}).order_by("name")
        first.append(("Used last", list(recent)))
    listed = {model.pk for _, models in first for model in models}
    rest = [model for model in rows[:MAX_SHOWN] if model.pk not in listed]
    by_provider = groupby(rest, key=lambda model: model.provider.name)
    groups = first + [(name, list(models)) for name, models in by_provider]
    return [(name, models) for name, models in groups if models]


def _choices(groups: Groups) -> list[tuple[str, list[tuple[Any, str]]]]:
    """Where the group is not the provider, the provider's name follows the model's."""
    return [
        (
            group,
            [
                (m.pk, m.name if m.provider.name == group else f"{m.name} · {m.provider.name}")
                for m in models
            ],
        )
        for group, models in groups
    ]


def find_models(text: str) -> QuerySet[LanguageModel]:
    """Models in use that hold every word, for the picker's search."""
    query = search.ModelQuery(user_id=0, words=tuple(text.replace("\0", "")[:200].split()))
    usable = search.filter_models(query).filter(pk__in=LanguageModel.objects.usable().values("pk"))
    return usable.select_related("provider").order_by("name", "pk")[:MAX_RESULTS]


def _with_virtual(
    groups: list[tuple[str, list[tuple[Any, str]]]], user: User
) -> list[tuple[str, list[tuple[Any, str]]]]:
    """The groups with the virtual models: favourites among the favourites, the others after."""
    starred, others = choices.virtual_options(user)
    favourites = [row for name, rows in groups if name == FAVOURITES for row in rows]
    rest = [group for group in groups if group[0] != FAVOURITES]
    every = [(FAVOURITES, [*starred, *favourites]), ("Virtual models", others), *rest]
    return [(name, rows) for name, rows in every if rows]


class MessageForm(forms.Form):
    """The composer: a text, and the model that is to answer it."""

    text = forms.CharField(
        strip=False,
        widget=forms.Textarea(
            attrs={
                "id": "prompt",
                "rows": 1,
                "dir": "auto",
                "placeholder": "Write a message",
                "aria-describedby": "composer-errors",
                "data-limit": MAX_CHARACTERS,
                "data-too-long": TOO_LONG,
            }
        ),
        error_messages={"required": "Write a message first."},
    )
    model = LanguageModelField(
        queryset=LanguageModel.objects.none(),
        empty_label=None,
        widget=ModelSelect(
            attrs={"id": "composer-model", "class": "composer-model", "aria-label": "Model"}
        ),
        error_messages={
            "required": "Pick a model.",
            "invalid_choice": "This model is no longer offered. Pick another one.",
        },
    )

    token = forms.CharField(
        required=False,
        max_length=64,
        widget=forms.HiddenInput(attrs={"id": "composer-token", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, user: User, pick: bool = False, **kwargs: Any) -> None:
        """`pick`: no model is chosen until the user picks one."""
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - for mypy
        field.queryset = LanguageModel.objects.usable()
        picked = str(self["model"].value() or "")
        groups = likely_models(user, int(picked) if picked.isdecimal() else None)
        field.choices = _with_virtual(_choices(groups), user)
        if pick or (self.is_bound and choices.find(picked) is None):
            field.choices = [PICK, *field.choices]
        self._describe(field.widget, {m.pk: m for _, models in groups for m in models})

    def _describe(self, widget: forms.Widget, shown: Mapping[int, LanguageModel]) -> None:
        """What the menu needs beside names: providers, and how many more the search would find."""
        assert isinstance(widget, ModelSelect)  # noqa: S101 - for mypy
        widget.providers = {str(pk): model.provider for pk, model in shown.items()}
        if len(shown) >= MAX_SHOWN:
            others = LanguageModel.objects.usable().count() - len(shown)
            widget.attrs |= {"data-search": reverse("chat:models"), "data-others": f"{others:,}"}

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"].replace("\r\n", "\n").replace("\0", "")
        if not text.strip():
            raise forms.ValidationError("Write a message first.")
        if len(text) > MAX_CHARACTERS:
            raise forms.ValidationError(TOO_LONG.format(count=f"{len(text):,}"))
        return text.strip("\n")

    def question(self) -> tuple[str, LanguageModel, str, VirtualModel | None]:
        """Text, model, token and virtual model, as `turns.start` takes them."""
        cleaned, choice = self.cleaned_data, self.cleaned_data["model"]
        return cleaned["text"], choice.language_model, cleaned["token"], choice.virtual_model

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
