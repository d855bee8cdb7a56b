"""Causes that lie in what a server answered: keys, balances, limits, models, the answer's format.

Each name explains one cause; diagnose.py decides which one applies.
"""

from providers.diagnosis.types import (
    AUTH,
    RATE_LIMIT,
    Diagnosis,
    FailureContext,
    Fix,
    error_sentence,
    fixed_text,
)
from providers.domain import base_url
from providers.vendors import presets


def zai_mix_up(e: FailureContext) -> Diagnosis:
    other = base_url.other_zai_url(e.base_url)
    here, there = ("Coding Plan", "pay-as-you-go")
    if not base_url.is_zai_coding(e.base_url):
        here, there = there, here
    return Diagnosis(
        title="Wrong base URL for this key",
        cause=f"This is the {here} address, but the key belongs to the {there} one. Z.ai answered"
        f" {e.error.status or 429} with code {e.code}, which is not a rate limit.",
        advice=f"Use {other}, or enter a key for the {here} address. If the key does belong here,"
        " top up its balance or renew its plan.",
        fix=Fix(field="base_url", value=other, label=f"Use the {there} address"),
    )


def gateway_lacks_model(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The gateway does not serve this model",
        cause=f"The LiteLLM proxy at {base_url.host(e.gateway_endpoint)} has no model"
        f" {e.model_id or 'of this name'} in its configuration.",
        advice="Add the model to the proxy's model_list under the same name, or clear the"
        " gateway's address to use the gateway process.",
    )


def list_missing(e: FailureContext) -> Diagnosis:
    vendor = presets.get(e.preset)
    offered = (
        f"Save to get {vendor.name}'s models from the offline catalogue, or add models by hand."
        if vendor.catalogue
        else "Save, then add models by hand."
    )
    return Diagnosis(
        title="This provider does not list its models",
        cause="A chat works, but this address has no list of models that this key may read.",
        advice=f"Nothing is wrong. {offered}",
    )


def list_unreadable(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The list of models cannot be read",
        cause=f"A chat works, but the list of models has an unknown format: {error_sentence(e)}",
        advice="Nothing else is wrong. Save, then add the models that you use by hand.",
    )


def model_missing(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The model was not found",
        cause=f"The provider has no model {e.model_id or 'of this name'}, or this key may not use"
        " it.",
        advice="Refresh the list of models and pick one from it.",
    )


def key_missing(e: FailureContext) -> Diagnosis:
    url = presets.get(e.preset).key_url
    return Diagnosis(
        title=AUTH,
        cause="The provider requires an API key, and none is set.",
        advice=f"Create one at {url} and enter it." if url else "Enter the provider's API key.",
    )


def permission_denied(e: FailureContext) -> Diagnosis:
    if e.stage != "chat":
        return Diagnosis(
            title=AUTH,
            cause=f"The key is valid, but may not do this (403): {error_sentence(e)}",
            advice="Check the key's permissions, and the account's region and organisation, at the"
            " provider. A new key alone rarely helps.",
        )
    return Diagnosis(
        title="Permission denied",
        cause=f"This key may not use {e.model_id or 'this model'} (403): {error_sentence(e)}",
        advice="Pick another model, or check the key's permissions at the provider. Other models"
        " of this key are not affected.",
    )


def prompt_moderated(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The prompt was refused",
        cause=f"The provider's moderation refused this prompt (403): {error_sentence(e)}",
        advice="Change the prompt, or pick a model without moderation. Other requests are not"
        " affected.",
    )


def key_refused(e: FailureContext) -> Diagnosis:
    hint = presets.get(e.preset).key_hint
    return Diagnosis(
        title=AUTH,
        cause="The provider does not accept this key"
        f"{f' ({e.error.status})' if e.error.status else ''}. It is mistyped, revoked, or belongs"
        " to another provider or address.",
        advice=f"Enter the key again. {hint}." if hint else "Enter the key again.",
    )


def key_undecryptable(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The stored key cannot be read",
        cause="ENCRYPTION_KEYS does not contain the key that encrypted it. Nothing was sent.",
        advice="Restore the old encryption key and restart, or enter the API key again.",
    )


def quota_used_up(e: FailureContext) -> Diagnosis:
    wait = e.error.retry_after
    return Diagnosis(
        title="The balance or plan is used up",
        cause=f"The provider refuses further requests from this account"
        f"{f' (code {e.code})' if e.code else ''}: {error_sentence(e)}",
        advice="The provider renews the plan by itself."
        if wait
        else "Top up the account or change the plan at the provider, then test again.",
        retry_after=wait,
    )


def provider_overloaded(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The provider is overloaded",
        cause=f"The provider is overloaded: {error_sentence(e)}",
        advice="Try again in a minute. The other connection leads to the same provider.",
        retry_after=e.error.retry_after,
    )


def gateway_failed(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The gateway failed",
        cause=f"The gateway could not process the request: {error_sentence(e)}",
        advice="Check the gateway's log. The direct connection works without it.",
    )


def request_refused(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The provider refused the request",
        cause=f"Status {e.error.status or 'unknown'}"
        f"{f', code {e.code}' if e.code else ''}: {error_sentence(e)}",
        advice="Check that the wire format (OpenAI or Anthropic) and the model fit the provider.",
    )


def provider_failed(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The provider failed",
        cause=f"The provider reported an error of its own: {error_sentence(e)} The key and the"
        " address seem fine.",
        advice="Try again. If it continues, check the provider's status page.",
        retry_after=e.error.retry_after,
    )


gateway_key_refused = fixed_text(
    AUTH,
    "The gateway refused its own key. The request did not reach the provider.",
    "Enter the LiteLLM proxy's key (its master key or a virtual key) as the gateway key.",
)
gateway_token_refused = fixed_text(
    AUTH,
    "The gateway process and the site were started with different tokens. The request did not"
    " reach the provider.",
    "Restart the site and its gateway process together.",
)
gateway_loading = fixed_text(
    "The gateway process is starting",
    "LiteLLM is still loading, which takes up to half a minute after a start.",
    "Wait a moment, then test again.",
)
litellm_missing = fixed_text(
    "The gateway process cannot work",
    "LiteLLM could not be imported.",
    "Run ./dev up to install the requirements again. The direct connection works without it.",
)
rate_limit = fixed_text(
    RATE_LIMIT,
    "The provider accepts no more requests from this key for now (429). The key and the address"
    " are fine.",
    "Wait, then test again.",
)
first_token_timeout = fixed_text(
    "No answer in time",
    "The provider accepted the request, but sent nothing within the time limit.",
    "Try again: the provider may be busy or loading the model. If the model often thinks for long,"
    " raise TIMEOUT_FIRST_TOKEN.",
)
truncated = fixed_text(
    "The answer broke off",
    "The stream ended before the answer was complete.",
    "Try again. If it happens every time, look for a proxy that cuts long answers.",
)
list_empty = fixed_text(
    "No models are listed",
    "The address and the key work, but the list of models is empty.",
    "Load a model into the server, check which models the key may use, or add models by hand.",
)
not_streamed = fixed_text(
    "Streaming is ignored",
    "A stream was requested, but the answer came in one piece. Chats work, but an answer appears"
    " only when it is complete.",
    "Turn on streaming in the server, or look for a proxy that collects answers.",
)
reasoning_in_text = fixed_text(
    "Reasoning appears in the answer text",
    "The answer begins with <think>: the server does not separate reasoning from the answer.",
    "Nothing has to change. If you run the server, turn on its reasoning parser (llama.cpp:"
    " --reasoning-format deepseek; vLLM: --reasoning-parser) to fold the reasoning away.",
)
usage_missing = fixed_text(
    "Tokens are not counted",
    "The answer does not report its token counts.",
    "Nothing has to change. Tokens and costs are estimated, and marked as estimates.",
)
