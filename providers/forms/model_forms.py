"""Forms for a model's alias and parameters, and for presets of parameters.

A parameter left empty is not sent. One that the model does not accept has no field.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.db import IntegrityError, transaction

from providers.catalog import parameters
from providers.catalog.parameters import Parameter, Value
from providers.domain.types import Kind
from providers.infra import replicas
from providers.models import BulkChange, LanguageModel, ParameterPreset, VirtualModel

_NAME = re.compile(r"^[^\s\x00-\x1f\x7f]+$")
BATCH_SIZE = 2000  # rows written in one statement


def accepted_parameters(model: LanguageModel) -> tuple[Parameter, ...]:
    """The parameters that a stored model accepts. Needs its provider."""
    return parameters.supported_parameters(
        model.takes,
        Kind(model.provider.kind),
        reasoning=model.reasoning,
        output_limit=model.output_limit,
    )


class _Parameters(forms.Form):
    """A form with a field for each accepted parameter after its own."""

    def __init__(
        self, *args: Any, takes: Iterable[Parameter], values: Mapping[str, Value], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.takes = tuple(takes)
        for each in self.takes:
            self.fields[each.name] = _field(each)
            self.initial.setdefault(each.name, values.get(each.name, ""))

    def values(self) -> dict[str, Value]:
        """The values that were entered."""
        given = ((each.name, self.cleaned_data.get(each.name)) for each in self.takes)
        return {name: value for name, value in given if value not in (None, "")}

    @property
    def parameter_fields(self) -> list[forms.BoundField]:
        return [self[each.name] for each in self.takes]


def _field(parameter: Parameter) -> forms.Field:
    common: dict[str, Any] = {"label": parameter.label, "required": False}
    if parameter.choices:
        choices = [("", "Not sent"), *((each, each) for each in parameter.choices)]
        hint = f"{parameter.hint} If not sent: {parameter.default}."
        return forms.ChoiceField(choices=choices, help_text=hint, **common)
    bounds = f"{_figure(parameter.minimum)} to {_figure(parameter.maximum)}"
    if parameter.name == "seed":
        bounds = "A whole number"
    common["help_text"] = f"{parameter.hint} {bounds}; if empty, {parameter.default}."
    common |= {"min_value": parameter.minimum, "max_value": parameter.maximum}
    kind = forms.IntegerField if parameter.is_integer else forms.FloatField
    inputmode = "numeric" if parameter.is_integer else "decimal"
    return kind(widget=forms.TextInput(attrs={"inputmode": inputmode}), **common)


def _figure(number: float | None) -> str:
    return f"{number:,.0f}" if number is not None else ""


class ModelSettingsForm(_Parameters):
    """One model's alias, and the parameters that the chat sends with each request to it."""

    alias = forms.CharField(
        label="Alias",
        required=False,
        max_length=200,
        help_text="Another name for this model at /v1.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, model: LanguageModel, **kwargs: Any) -> None:
        stored = model.parameters if isinstance(model.parameters, dict) else {}
        kwargs.setdefault("initial", {"alias": model.alias})
        super().__init__(*args, takes=accepted_parameters(model), values=stored, **kwargs)
        self.model = model
        names = {each.name for each in self.takes}
        self.others = {name: value for name, value in stored.items() if name not in names}

    def clean_alias(self) -> str:
        alias = str(self.cleaned_data["alias"]).strip()
        if alias and not _NAME.match(alias):
            raise forms.ValidationError("An alias must not contain spaces.")
        others = LanguageModel.objects.exclude(pk=self.model.pk).select_related("provider")
        if alias and (other := others.filter(alias=alias).first()):
            raise forms.ValidationError(f"{other.name} of {other.provider} has this alias already.")
        slug, _, model_id = alias.partition("/")
        if model_id and others.filter(provider__slug=slug, model_id=model_id).exists():
            raise forms.ValidationError("This is the full name of another model.")
        if alias and VirtualModel.objects.filter(name=alias).exists():
            raise forms.ValidationError("This is the name of a virtual model.")
        return alias

    def store(self) -> bool:
        """Saves; returns False, with an error at the field, if the alias was just taken."""
        self.model.alias = self.cleaned_data["alias"]
        self.model.parameters = self.others | self.values()
        try:
            with transaction.atomic():
                self.model.save(update_fields=["alias", "parameters"])
        except IntegrityError:
            self.add_error("alias", "Another model has just been given this alias.")
            return False
        return True


class PresetForm(_Parameters):
    """A preset of parameters: a name, and at least one value."""

    name = forms.CharField(
        label="Name", max_length=60, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    def __init__(self, *args: Any, instance: ParameterPreset | None = None, **kwargs: Any) -> None:
        self.instance = instance or ParameterPreset()
        kwargs.setdefault("initial", {"name": self.instance.name})
        super().__init__(*args, takes=parameters.PARAMETERS, values=self.instance.values, **kwargs)

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"]).strip()
        others = ParameterPreset.objects.exclude(pk=self.instance.pk)
        if others.filter(name__iexact=name).exists():
            raise forms.ValidationError("A preset with this name exists already.")
        return name

    def clean(self) -> dict[str, Any]:
        if not self.errors and not self.values():
            raise forms.ValidationError("Fill in at least one parameter.")
        return self.cleaned_data

    def store(self) -> ParameterPreset:
        self.instance.name = self.cleaned_data["name"]
        self.instance.values = self.values()
        self.instance.save()
        return self.instance


type Replaced = list[tuple[list[int], Any, Any]]  # ids, what they had, what they were given


def apply_preset(preset: ParameterPreset, models: Iterable[LanguageModel]) -> Replaced:
    """Sets the parameters of a preset on models that accept them; returns what was replaced."""
    changed: list[LanguageModel] = []
    groups: dict[str, tuple[list[int], Any, Any]] = {}
    for model in models:
        had = model.parameters if isinstance(model.parameters, dict) else {}
        model.parameters = had | parameters.fit_values(preset.values, accepted_parameters(model))
        if model.parameters != had:
            group: tuple[list[int], Any, Any] = ([], had, model.parameters)
            groups.setdefault(repr(group), group)[0].append(model.pk)
            changed.append(model)
    LanguageModel.objects.bulk_update(changed, ["parameters"], batch_size=BATCH_SIZE)
    replicas.publish("providers")
    return list(groups.values())


def save_undo(user_id: int, description: str, field: str, replaced: Replaced) -> None:
    """Store the replaced values of a bulk change, so that its author can undo it."""
    BulkChange.objects.filter(user=user_id).delete()
    if replaced:
        BulkChange.objects.create(user_id=user_id, said=description, field=field, before=replaced)
