"""The parameters of models: ranges, defaults, and which of a preset's values fit a model. No I/O.

A model whose parameters are unknown is offered the usual ones of its wire format.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from providers.domain.frozen import frozen
from providers.domain.types import Kind

type Value = int | float | str


@frozen
class Parameter:
    """One parameter: a number from `minimum` to `maximum`, or one of its `choices`.

    `default` describes what happens when it is not sent.
    """

    name: str
    label: str
    hint: str
    minimum: float | None = None
    maximum: float | None = None
    is_integer: bool = False
    choices: tuple[str, ...] = ()
    default: str = "the provider's own"


PARAMETERS = (
    Parameter(
        name="temperature",
        label="Temperature",
        hint="Low is focused, high is creative.",
        minimum=0,
        maximum=2,
        default="1 with most providers",
    ),
    Parameter(
        name="top_p",
        label="Top p",
        hint="Share of the most likely tokens to choose from.",
        minimum=0,
        maximum=1,
        default="1",
    ),
    Parameter(
        name="max_tokens",
        label="Longest answer",
        hint="In tokens.",
        minimum=1,
        maximum=10_000_000,
        is_integer=True,
        default="the model's limit",
    ),
    Parameter(
        name="frequency_penalty",
        label="Frequency penalty",
        hint="Above 0, words repeat less.",
        minimum=-2,
        maximum=2,
        default="0",
    ),
    Parameter(
        name="presence_penalty",
        label="Presence penalty",
        hint="Above 0, new topics come up more.",
        minimum=-2,
        maximum=2,
        default="0",
    ),
    Parameter(
        name="seed",
        label="Seed",
        hint="The same seed gives similar answers.",
        minimum=-(2**53),
        maximum=2**53,
        is_integer=True,
        default="random",
    ),
    Parameter(
        name="reasoning_effort",
        label="Reasoning effort",
        hint="How long the model thinks before it answers.",
        choices=("none", "minimal", "low", "medium", "high", "xhigh"),
        default="the model's own",
    ),
)
BY_NAME: Mapping[str, Parameter] = {each.name: each for each in PARAMETERS}

# Other names in lists of models.
_SYNONYMS = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "reasoning": "reasoning_effort",
    "thinking": "reasoning_effort",
}
_SAMPLING = ("temperature", "top_p", "max_tokens")
_USUAL = {
    Kind.OPENAI: (*_SAMPLING, "frequency_penalty", "presence_penalty", "seed"),
    Kind.ANTHROPIC: _SAMPLING,
}


def supported_parameters(
    names: Collection[str] | None,
    kind: Kind,
    *,
    reasoning: bool = False,
    output_limit: int | None = None,
) -> tuple[Parameter, ...]:
    """The parameters that a model accepts, in the usual order, with its own ranges."""
    if names is None:
        supported = {*_USUAL[kind], *(("reasoning_effort",) if reasoning else ())}
    else:
        supported = {_SYNONYMS.get(name, name) for name in names}
    if kind == Kind.ANTHROPIC:
        supported &= {*_USUAL[kind]}
    return tuple(
        _adjust_range(each, kind, output_limit) for each in PARAMETERS if each.name in supported
    )


def _adjust_range(parameter: Parameter, kind: Kind, output_limit: int | None) -> Parameter:
    if parameter.name == "temperature" and kind == Kind.ANTHROPIC:
        return replace(parameter, maximum=1)
    if parameter.name == "max_tokens" and output_limit:
        return replace(parameter, maximum=output_limit)
    return parameter


def fit_values(values: Mapping[str, Value], supported: Collection[Parameter]) -> dict[str, Value]:
    """The values of a preset that a model accepts, with numbers clamped to its range."""
    by_name = {each.name: each for each in supported}
    return {name: _clamp(value, by_name[name]) for name, value in values.items() if name in by_name}


def _clamp(value: Value, parameter: Parameter) -> Value:
    if isinstance(value, str) or parameter.minimum is None or parameter.maximum is None:
        return value
    clamped = min(max(value, parameter.minimum), parameter.maximum)
    return int(clamped) if parameter.is_integer else clamped
