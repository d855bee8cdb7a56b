"""The values that pass between packages: requests, targets, events, usage. Equal by content.

A Target is all that a client needs for one attempt, so no client imports a row. Its repr never
shows a key.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.native_body import BodyFormat, NativeBody
from providers.domain.passed_body import PassedBody

type Json = Mapping[str, Any]


class Method(StrEnum):
    """How a provider is reached: directly or through a gateway."""

    DIRECT = "direct"
    GATEWAY = "gateway"


class Kind(StrEnum):
    """The wire protocol a provider speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


@frozen
class ChatMessage:
    """One message. `extra` holds every other field, and a null content, passed on unchanged."""

    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str | tuple[Json, ...] | None
    extra: Json = field(default_factory=dict)


@frozen
class ChatRequest:
    """A chat to be answered. `options` are the body's other fields, such as temperature.

    `non_streaming`: as one JSON body, not as a stream. `passed`: it is no chat, but a request of
    another endpoint, for which the router does the same.
    """

    messages: tuple[ChatMessage, ...]
    options: Json = field(default_factory=dict)
    non_streaming: bool = False
    native: NativeBody | None = None
    passed: PassedBody | None = None


@frozen
class Timeouts:
    """Seconds. `first_token` counts from the call, `silence` from the last content of a stream;
    comments and empty deltas are no content.

    `non_streaming` limits an answer in one piece: work and silence look the same there.
    `headers` is for a server that sends its headers at once. `start` is the part of `first_token`
    in which the gateway process may start and load LiteLLM; 0 where another route can answer.
    """

    connect: float
    first_token: float
    silence: float
    total: float
    non_streaming: float = 300.0
    headers: float | None = None
    start: float = 0.0


@frozen
class Upstream:
    """The provider that LiteLLM calls, where the target is the gateway process."""

    litellm_model: str
    base_url: str
    api_key: str = field(repr=False)
    headers: Json = field(default_factory=dict, repr=False)
    # LiteLLM's own parameters, such as api_version; credentials may be among them.
    parameters: Json = field(default_factory=dict, repr=False)
    has_list: bool = True  # whether the vendor lists its models in a way that we can read


# Words in the names of LiteLLM's parameters whose values are secrets.
_CREDENTIALS = ("key", "secret", "token", "password", "credential")


def is_credential(name: str) -> bool:
    """Whether a parameter of LiteLLM holds a secret, by its name."""
    return any(word in name.lower() for word in _CREDENTIALS)


@frozen
class Target:
    """The destination of one attempt: address, protocol, key, model, time-outs.

    `splits_reasoning`: separate reasoning from the text of an answer. `takes_responses`: it has
    OpenAI's Responses API beside chat completions. `upstream` is set only where the destination is
    the gateway process. `account_secrets` are the provider's other keys:
    they are not sent, but a gateway may have them and repeat them.
    """

    method: Method
    kind: Kind
    base_url: str
    api_key: str = field(repr=False)
    model: str
    timeouts: Timeouts
    headers: Json = field(default_factory=dict, repr=False)
    upstream: Upstream | None = None
    splits_reasoning: bool = False
    account_secrets: tuple[str, ...] = field(default=(), repr=False)
    streams: bool = True
    takes_responses: bool = False

    @property
    def secrets(self) -> frozenset[str]:
        """Its keys and header values, which no text about a call may repeat."""
        parts = (self, self.upstream) if self.upstream else (self,)
        keys = {each.api_key.strip() for each in parts}
        values = {str(v) for each in parts for v in each.headers.values()}
        return frozenset(keys | values).union(self.account_secrets)


def is_native(target: Target, request: ChatRequest) -> bool:
    """Whether the target takes the request in the format in which it came."""
    native = request.native
    if native is None or target.method != Method.DIRECT:
        return False
    if native.format == BodyFormat.MESSAGES:
        return target.kind == Kind.ANTHROPIC
    return target.takes_responses


@frozen
class Usage:
    """Tokens. `estimated`: the provider sent no usage, so this program counted.

    `cached_tokens` were read from a cache and `cache_write_tokens` written to one: parts of the
    input; `reasoning_tokens` are a part of the output.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


@frozen
class _Event:
    """An event that a client yields.

    `raw` is the provider's chunk in OpenAI's format, unchanged, and `line` the data of its event,
    for callers that pass it on; None and empty for other formats. The events of one chunk share it.
    A row of chunks of text may be joined to one; `line` is then the data of all of them, with what
    is between two events ("\\n\\ndata: ") between them.
    `is_content`: it holds a part of the answer itself.
    """

    raw: Json | None = field(default=None, compare=False, repr=False)
    line: str = field(default="", compare=False, repr=False)
    is_content: bool = False


@frozen
class TextDelta(_Event):
    text: str
    is_content: bool = True


@frozen
class ReasoningDelta(_Event):
    text: str
    is_content: bool = True


@frozen
class TextWasReasoning(_Event):
    """All text so far was reasoning: a closing tag came without an opening one."""


@frozen
class ToolCallDelta(_Event):
    call: Json
    is_content: bool = True


@frozen
class UsageReport(_Event):
    """`reported` are the vendor's own fields."""

    usage: Usage
    reported: Json | None = field(default=None, compare=False, repr=False)


@frozen
class Finish(_Event):
    """The provider ended the answer. `reason` is OpenAI's name for why, `native` the vendor's own.

    `reason` is empty where OpenAI has no name for it, as for a vendor's failures.
    """

    reason: str
    native: str = field(default="", compare=False)


STALE_CONNECTION = "stale_connection"
"""The code of an attempt over a reused connection that the server had closed already."""

STREAM_REFUSED = "stream_refused"
"""The code of an attempt whose upstream does not stream; it was sent again in one piece."""

RESENT_CODES = frozenset({STALE_CONNECTION, STREAM_REFUSED})
"""Attempts with these codes were sent again at once, and say nothing about their route."""


@frozen
class Resent(_Event):
    """The request was sent again. `error` is how the first attempt failed, so many seconds ago;
    `reason` says why it was sent again."""

    error: CallError = field(compare=False)
    reason: str
    seconds_ago: float = 0.0


@frozen
class LateError(_Event):
    """An error after the complete answer: recorded, but no failure."""

    code: str
    message: str


@frozen
class Passed(_Event):
    """A chunk without any other event here, for callers that pass it on.

    Its content, where it has any, is audio or a second choice; a role alone is none. `data` is a
    piece of an answer that is no chat, as it came, `content_type` its form, and `characters` how
    many of them are text that the model wrote.
    """

    data: bytes = field(default=b"", repr=False)
    content_type: str = ""
    characters: int = 0


type ClientEvent = (
    TextDelta
    | ReasoningDelta
    | TextWasReasoning
    | ToolCallDelta
    | UsageReport
    | Finish
    | LateError
    | Resent
    | Passed
)


@frozen
class AttemptStarted:
    """A call went out, and nothing has come back yet. The router yields it only on demand.

    `first_token` is how many seconds its first content may take. After that the router tries
    `next_route` ("gateway", or another provider's name and method; empty: the request fails).
    `failed` describes the attempt before this one.
    """

    provider_name: str
    model: str
    method: Method
    started_at: datetime
    first_token: float
    next_route: str = ""
    failed: str = ""


@frozen
class RouteTaken:
    """The route that answers, and why it was chosen. Comes once, just before the first content.

    `fallback`: it was not the plan's first choice. `attempts` includes this one. `overhead_ms` is
    the time in this program before the answering call went out, without failed calls. `is_cached`:
    no route answered, and this is a cached answer to the same request; the reason states its age.
    `native`: the events carry the provider's payloads, in the request's own format. `member`: the
    full name of the model that answers, where a virtual model was requested. `content_type`: of an
    answer that is no chat.
    """

    route_id: int
    method: Method
    provider_name: str
    model: str
    reason: str
    fallback: bool
    ttft_ms: int
    provider_slug: str = ""
    attempts: int = 1
    overhead_ms: float = 0.0
    is_cached: bool = False
    native: bool = False
    member: str = ""
    content_type: str = ""


@frozen
class AttemptRecord:
    """One call over one route, as stored and shown. `outcome` is `ok`, `stopped` or an ErrorKind.

    Without a method it is a request that found no available route.
    """

    route_id: int
    method: Method | None
    endpoint: str
    outcome: str
    reason: str
    started_at: datetime
    duration_ms: int
    position: int = 1
    ttft_ms: int | None = None
    status: int | None = None
    error_code: str = ""
    error_message: str = ""
    usage: Usage | None = None
    cost: Decimal | None = None

    @property
    def failed(self) -> bool:
        return self.outcome not in ("ok", ErrorKind.STOPPED)


@frozen
class Completed:
    """How the stream ended. Comes once, last. `error` is set where it broke off after content."""

    attempts: tuple[AttemptRecord, ...]
    usage: Usage
    cost: Decimal | None
    finish_reason: str
    error: CallError | None = None
    native_reason: str = ""  # the vendor's own finish reason


# What router.stream yields.
type StreamEvent = AttemptStarted | RouteTaken | ClientEvent | Completed


ABILITIES = ("vision", "tools", "reasoning", "json_output")


def known_abilities(model: Mapping[str, Any]) -> dict[str, Any]:
    """The abilities of a stored model, from its columns; None where unknown.

    A column is False for both "no" and "unknown". Only a "no" has a source.
    """
    sources = model["sources"]
    return {name: model[name] if model[name] or name in sources else None for name in ABILITIES}


@frozen
class DiscoveredModel:
    """One model as a source describes it; None where it does not. Prices in USD per million tokens.

    `takes` names the parameters it accepts. `kind` is one of models.ModelKind, or empty.
    """

    model_id: str
    name: str = ""
    kind: str = ""
    context: int | None = None
    output_limit: int | None = None
    vision: bool | None = None
    tools: bool | None = None
    reasoning: bool | None = None
    json_output: bool | None = None
    input_price: Decimal | None = None
    output_price: Decimal | None = None
    cache_read_price: Decimal | None = None
    cache_write_price: Decimal | None = None
    takes: tuple[str, ...] | None = None
