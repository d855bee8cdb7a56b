"""The parameters that models take: their ranges and defaults, and what fits of a preset. No I/O.

Where nobody says which ones a model takes, it is offered the usual ones of its wire format.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from providers.domain.frozen import frozen
from providers.domain.types import Kind

type Value = int | float | str


@frozen
class Parameter:
    """One parameter: a number from `least` to `most`, or one of its `choices`.

    `default` says in words what happens where it is not sent.
    """

    name: str
    label: str
    hint: str
    least: float | None = None
    most: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()
    default: str = "the provider's own"


KNOWN = (
    Parameter(
        name="temperature",
        label="Temperature",
        hint="Low is sober, high is inventive.",
        least=0,
        most=2,
        default="1 with most providers",
    ),
    Parameter(
        name="top_p",
        label="Top p",
        hint="Share of the likely words that are considered.",
        least=0,
        most=1,
        default="1",
    ),
    Parameter(
        name="max_tokens",
        label="Longest answer",
        hint="In tokens.",
        least=1,
        most=10_000_000,
        whole=True,
        default="the model's limit",
    ),
    Parameter(
        name="frequency_penalty",
        label="Frequency penalty",
        hint="Above 0: fewer repeated words.",
        least=-2,
        most=2,
        default="0",
    ),
    Parameter(
        name="presence_penalty",
        label="Presence penalty",
        hint="Above 0: more new subjects.",
        least=-2,
        most=2,
        default="0",
    ),
    Parameter(
        name="seed",
        label="Seed",
        hint="The same seed asks for the same answer.",
        least=-(2**53),
        most=2**53,
        whole=True,
        default="another one each time",
    ),
    Parameter(
        name="reasoning_effort",
        label="Reasoning effort",
        hint="How long it thinks first.",
        choices=("none", "minimal", "low", "medium", "high", "xhigh"),
        default="the model's own",
    ),
)
BY_NAME: Mapping[str, Parameter] = {each.name: each for each in KNOWN}

# Other names that lists of models use for the same.
_SAME = {
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


def taken(
    names: Collection[str] | None,
    kind: Kind,
    *,
    reasoning: bool = False,
    output_limit: int | None = None,
) -> tuple[Parameter, ...]:
    """Those of the known parameters that a model takes, in their usual order and its own ranges."""
    if names is None:
        wanted = {*_USUAL[kind], *(("reasoning_effort",) if reasoning else ())}
    else:
        wanted = {_SAME.get(name, name) for name in names}
    if kind == Kind.ANTHROPIC:
        wanted &= {*_USUAL[kind]}
    return tuple(_own(each, kind, output_limit) for each in KNOWN if each.name in wanted)


def _own(parameter: Parameter, kind: Kind, output_limit: int | None) -> Parameter:
    if parameter.name == "temperature" and kind == Kind.ANTHROPIC:
        return replace(parameter, most=1)
    if parameter.name == "max_tokens" and output_limit:
        return replace(parameter, most=output_limit)
    return parameter


def fitting(values: Mapping[str, Value], takes: Collection[Parameter]) -> dict[str, Value]:
    """What of a preset a model takes: the names it knows, the numbers kept within its range."""
    own = {each.name: each for each in takes}
    return {name: _within(value, own[name]) for name, value in values.items() if name in own}


def _within(value: Value, parameter: Parameter) -> Value:
    if isinstance(value, str) or parameter.least is None or parameter.most is None:
        return value
    kept = min(max(value, parameter.least), parameter.most)
    return int(kept) if parameter.whole else kept
