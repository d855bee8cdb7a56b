"""In which form an answer is requested: as a stream wherever the upstream can send one.

So the clocks of a stream - first token, silence - apply to callers who want one JSON as well:
nobody can distinguish work from silence in an answer that comes in one piece.
"""

import re
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from providers.clients import methods
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import STREAM_REFUSED, ChatRequest, ClientEvent, Resent, Target

FORGET_AFTER = 24 * 3600.0  # seconds; an upstream may learn to stream
MAX_REMEMBERED = 1000

# What cannot be put together from a stream, or is refused in one: audio comes in another encoding
# (https://platform.openai.com/docs/guides/audio), the others are vLLM's.
_ONLY_IN_ONE_PIECE = ("audio", "prompt_logprobs", "best_of", "use_beam_search")
_REFUSALS = frozenset({400, 404, 405, 406, 415, 422, 501})

type _Key = tuple[str, str, str]

# Upstreams that sent no stream, and until when that is believed (monotonic seconds).
_without_streams: dict[_Key, float] = {}

_STREAM = re.compile(r"(?<![a-z])stream(ing|_options)?(?![a-z])")
_NO = r"not (supported|support|implemented|permitted|allowed|available|enabled)|unsupported|cannot"
_NO_STREAM = re.compile(
    rf"{_STREAM.pattern}[^.]{{0,40}}\b({_NO})|\b({_NO}|without|disable)[^.]{{0,40}}{_STREAM.pattern}"
)


def read_answer(target: Target, request: ChatRequest) -> AsyncGenerator[list[ClientEvent]]:
    """The answer over a target's route, the events of each read together. Raises CallError."""
    if request.passed:
        return methods.stream(target, request)
    if not can_stream(target):
        return methods.stream(target, replace(request, non_streaming=True))
    if not request.non_streaming or not can_gather(request.options):
        return methods.stream(target, request)
    return _stream_or_resend(target, request)


async def _stream_or_resend(
    target: Target, request: ChatRequest
) -> AsyncGenerator[list[ClientEvent]]:
    """The answer as a stream; where the upstream refuses to stream, a second attempt without."""
    try:
        async with aclosing(methods.stream(target, replace(request, non_streaming=False))) as reads:
            async for events in reads:
                if _is_one_piece(events[-1]):
                    _remember_without_streams(target)
                yield events
        return
    except CallError as error:
        if not refuses_streaming(error):
            raise
        refusal = error
    yield [_resent_without_streaming(refusal)]
    async with aclosing(methods.stream(target, request)) as reads:
        async for events in reads:
            _remember_without_streams(target)  # only now: the refusal was about the form
            yield events


def _resent_without_streaming(refusal: CallError) -> Resent:
    error = CallError(
        ErrorKind.REQUEST, refusal.message, status=refusal.status, code=STREAM_REFUSED
    )
    return Resent(error=error, reason="sent again without streaming")


def can_stream(target: Target) -> bool:
    """Whether the model streams, as far as is known."""
    if not target.streams:
        return False
    until = _without_streams.get(_key(target)) if _without_streams else None
    return until is None or until < time.monotonic()


def can_gather(options: Mapping[str, Any]) -> bool:
    """Whether a stream of the answer holds all that the answer in one piece would."""
    modalities = options.get("modalities")
    speaks = isinstance(modalities, Iterable) and "audio" in modalities
    return not speaks and not any(map(options.get, _ONLY_IN_ONE_PIECE))


def refuses_streaming(error: CallError) -> bool:
    """Whether an error is about the streaming form: its parameter or code names it, or its message
    with a word of refusal beside it. An echoed prompt, or the word upstream, is neither."""
    if error.status not in _REFUSALS:
        return False
    named = f"{error.param} {error.code}".lower()
    return bool(_STREAM.search(named) or _NO_STREAM.search(error.message.lower()))


def _is_one_piece(event: ClientEvent) -> bool:
    """Whether it is of one JSON that was sent in place of a stream."""
    choices = (event.raw or {}).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, Mapping) and "message" in first


def _remember_without_streams(target: Target) -> None:
    if len(_without_streams) >= MAX_REMEMBERED:
        _without_streams.clear()
    _without_streams[_key(target)] = time.monotonic() + FORGET_AFTER


def _key(target: Target) -> _Key:
    return target.base_url, target.upstream.base_url if target.upstream else "", target.model
