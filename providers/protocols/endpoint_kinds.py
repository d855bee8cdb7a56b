"""The endpoints that pass requests through to a provider: one row each. No I/O.

What differs between embeddings, completions, reranking, images, audio and moderation is here; the
rest is the same for all. Paths, fields and answers are OpenAI's
(https://platform.openai.com/docs/api-reference); reranking is Cohere's and Jina's, which LiteLLM,
vLLM and Together share (https://docs.litellm.ai/docs/rerank).
"""

from collections.abc import Mapping

from providers.domain.frozen import frozen

MEGABYTE = 2**20


@frozen
class EndpointKind:
    """One endpoint. `path` is below `/v1` here, and below a provider's base URL there.

    `model_kinds`: the kinds of models that serve it, of models.ModelKind. `required`: the fields
    without which a request is wrong. `read_by_model`: the fields whose text a model reads as
    tokens; where there are none, usage is never estimated. `writes_text`: its answers have output
    tokens. `is_multipart`: the body is a form with a file. `streams`: `stream: true` requests
    events. `has_done_mark`: its events end with `[DONE]`. `is_binary`: the answer is bytes of any
    length, passed on as they come. `largest_answer`: bytes of one that is not passed on before its
    end.
    """

    path: str
    noun: str
    model_kinds: frozenset[str]
    required: tuple[str, ...] = ()
    read_by_model: tuple[str, ...] = ()
    writes_text: bool = False
    is_multipart: bool = False
    streams: bool = False
    has_done_mark: bool = False
    is_binary: bool = False
    largest_answer: int = 16 * MEGABYTE


_ROWS = (
    EndpointKind(
        path="embeddings",
        noun="embeddings",
        model_kinds=frozenset({"embedding"}),
        required=("input",),
        read_by_model=("input",),
        largest_answer=64 * MEGABYTE,  # 2,048 inputs of 1,536 numbers
    ),
    EndpointKind(
        path="completions",
        noun="text completions",
        model_kinds=frozenset({"chat", "completion"}),
        required=("prompt",),
        read_by_model=("prompt", "suffix"),
        writes_text=True,
        streams=True,
        has_done_mark=True,
    ),
    EndpointKind(
        path="rerank",
        noun="reranking",
        model_kinds=frozenset({"rerank"}),
        required=("query", "documents"),
        read_by_model=("query", "documents"),
    ),
    EndpointKind(
        path="images/generations",
        noun="images",
        model_kinds=frozenset({"image"}),
        required=("prompt",),
        streams=True,
        largest_answer=64 * MEGABYTE,  # ten images of 4 MB, in base64
    ),
    EndpointKind(
        path="audio/transcriptions",
        noun="transcription",
        model_kinds=frozenset({"transcription"}),
        required=("file",),
        is_multipart=True,
        streams=True,
    ),
    EndpointKind(
        path="audio/speech",
        noun="speech",
        model_kinds=frozenset({"speech"}),
        required=("input",),
        is_binary=True,
    ),
    EndpointKind(
        path="moderations",
        noun="moderation",
        model_kinds=frozenset({"moderation"}),
        required=("input",),
        read_by_model=("input",),
    ),
)
ENDPOINTS: Mapping[str, EndpointKind] = {row.path: row for row in _ROWS}

CHAT = "chat/completions"
_CHAT_KINDS = frozenset({"chat"})


def model_kinds(endpoint: str) -> frozenset[str]:
    """The kinds of models that serve an endpoint; those of a chat for all the chat formats."""
    row = ENDPOINTS.get(endpoint)
    return row.model_kinds if row else _CHAT_KINDS


def serves(kinds: frozenset[str], endpoint: str) -> bool:
    """Whether a model of these kinds serves an endpoint. A model of unknown kind may."""
    return not kinds or not kinds.isdisjoint(model_kinds(endpoint))


def endpoints_of(kinds: frozenset[str]) -> tuple[str, ...]:
    """The paths, below `/v1`, that serve a model of these kinds; for a chat its first format."""
    return tuple(path for path in (CHAT, *ENDPOINTS) if kinds & model_kinds(path))
