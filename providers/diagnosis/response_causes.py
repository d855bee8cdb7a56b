"""Causes that lie in what a server answered: keys, balances, limits, models, the form of an answer.

Nothing is decided here: diagnosis.py says which of them speaks.
"""

from providers.diagnosis.types import AUTH, RATE_LIMIT, Diagnosis, FailureContext, Fix, said, static
from providers.domain import base_url
from providers.vendors import presets


def zai_mix_up(e: FailureContext) -> Diagnosis:
    other = base_url.zai_other(e.base_url)
    here, there = ("Coding Plan", "pay-as-you-go")
    if not base_url.is_zai_coding(e.base_url):
        here, there = there, here
    return Diagnosis(
        title="Wrong base URL for this key",
        cause=f"Z.ai answered {e.error.status or 429} with code {e.code}. That is not a rate limit:"
        f" this is the {here} address, and the key belongs to the {there} one. The two kinds of"
        " key are not interchangeable, and no other route to the same address helps.",
        advice=f"Use {other}, or enter a key for the {here} address. If the key does belong here,"
        " its balance or plan is used up.",
        fix=Fix(field="base_url", value=other, label=f"Use the {there} address"),
    )


def gateway_lacks_model(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The gateway does not serve this model",
        cause=f"The LiteLLM proxy at {base_url.host(e.gateway_endpoint)} has no model"
        f" {e.model_id or 'of this name'} in its configuration.",
        advice="Add it to the proxy's model_list under the same name, or leave the gateway's"
        " address empty to use this program's own gateway.",
    )


def list_missing(e: FailureContext) -> Diagnosis:
    vendor = presets.get(e.preset)
    there = f"those of {vendor.name} in the offline catalogue are offered, and others can be added"
    return Diagnosis(
        title="This provider does not list its models",
        cause="A chat works, but this address has no list of models that this key may read.",
        advice="Nothing is wrong: once it is saved, "
        + (there if vendor.catalogue else "models can be added")
        + " by hand.",
    )


def list_strange(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The list of models cannot be read",
        cause=f"A chat works, but the list of models has another shape than any known: {said(e)}",
        advice="Nothing else is wrong. Add the models that you use by hand once it is saved.",
    )


def model_missing(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The model was not found",
        cause=f"The provider answers, but does not know {e.model_id or 'the model'}, or this key"
        " may not use it.",
        advice="Refresh the list of models and pick one that it names.",
    )


def no_key(e: FailureContext) -> Diagnosis:
    where = presets.get(e.preset).key_url
    return Diagnosis(
        title=AUTH,
        cause="The provider wants an API key, and none is set.",
        advice=f"Get one at {where} and enter it." if where else "Enter the provider's API key.",
    )


def forbidden(e: FailureContext) -> Diagnosis:
    if e.step != "chat":
        return Diagnosis(
            title=AUTH,
            cause=f"The key is known, but may not do this (403): {said(e)}",
            advice="Look at the key's rights, the account's region and its organisation at the"
            " provider; a new key alone rarely helps.",
        )
    return Diagnosis(
        title="Permission denied",
        cause=f"This key may not use {e.model_id or 'this model'} (403): {said(e)}",
        advice="Pick another model, or look at the key's rights at the provider. Other models of"
        " this key are not affected.",
    )


def moderated(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The prompt was refused",
        cause=f"The provider's moderation refused this prompt (403): {said(e)}",
        advice="Change the prompt, or pick a model without moderation. Other requests are not"
        " affected.",
    )


def unauthorised(e: FailureContext) -> Diagnosis:
    hint = presets.get(e.preset).key_hint
    return Diagnosis(
        title=AUTH,
        cause="The provider does not accept this key"
        f"{f' ({e.error.status})' if e.error.status else ''}: it is mistyped, revoked, or belongs"
        " to another provider or address.",
        advice=f"Enter it again. {hint}." if hint else "Enter it again.",
    )


def key_unreadable(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The stored key cannot be read",
        cause="ENCRYPTION_KEYS does not contain the key that encrypted it, so nothing was sent.",
        advice="Restore the old encryption key and restart, or enter the API key again.",
    )


def quota(e: FailureContext) -> Diagnosis:
    wait = e.error.retry_after
    return Diagnosis(
        title="The balance or plan is used up",
        cause=f"The provider says that this account may not spend more"
        f"{f' (code {e.code})' if e.code else ''}: {said(e)}",
        advice="It starts anew at the time the provider named."
        if wait
        else "Top up the account or change the plan at the provider, then test again.",
        retry_after=wait,
    )


def overloaded(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The provider is overloaded",
        cause=f"The provider is overloaded: {said(e)}",
        advice="Try again in a minute; another route leads to the same provider.",
        retry_after=e.error.retry_after,
    )


def gateway_failed(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The gateway failed",
        cause=f"The gateway itself could not do its work: {said(e)}",
        advice="Look at the gateway's log. The direct connection works without it.",
    )


def refused_request(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The provider refused the request",
        cause=f"Status {e.error.status or 'unknown'}"
        f"{f', code {e.code}' if e.code else ''}: {said(e)}",
        advice="Check that the wire format (OpenAI or Anthropic) fits the provider, and the model.",
    )


def provider_failed(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title="The provider failed",
        cause=f"Key and address seem fine, but the provider had an error of its own: {said(e)}",
        advice="Try again; if it lasts, look at the provider's status page.",
        retry_after=e.error.retry_after,
    )


gateway_refuses = static(
    AUTH,
    "The gateway refused its own key; the provider was never asked.",
    "Enter the LiteLLM proxy's key (its master key or a virtual key) as gateway key.",
)
gateway_token = static(
    AUTH,
    "This program's gateway process was started with another token than the site; the provider was"
    " never asked.",
    "Restart the site and its gateway together.",
)
gateway_loading = static(
    "The gateway process is starting",
    "LiteLLM is still loading, which takes up to half a minute after a start.",
    "Wait a moment, then test again.",
)
litellm_missing = static(
    "The gateway process cannot work",
    "LiteLLM could not be imported where the gateway process runs.",
    "Install the requirements again: ./dev up does it. The direct connection works without it.",
)
rate_limit = static(
    RATE_LIMIT,
    "The provider takes no more requests from this key for the moment (429). Key and address are"
    " fine.",
    "Wait, then test again.",
)
first_token = static(
    "No answer in time",
    "The provider took the request, but nothing came back within the time allowed.",
    "It may be busy, loading the model, or thinking for long. Try again; where it always thinks"
    " long, raise TIMEOUT_FIRST_TOKEN.",
)
truncated = static(
    "The answer broke off",
    "The stream ended without saying that it was finished.",
    "Try again; if it happens every time, a proxy in between cuts long answers.",
)
list_empty = static(
    "No models are listed",
    "The address and the key are good, but the list of models is empty.",
    "Load a model into the server, or look at what the key may use. Models can also be added by"
    " hand.",
)
not_streamed = static(
    "Streaming is ignored",
    "A stream was asked for, and the answer came in one piece. Everything works, but an answer is"
    " seen only when it is finished.",
    "Look for a switch for streaming in the server, or a proxy in between that gathers answers.",
)
thinks_aloud = static(
    "Reasoning appears in the answer text",
    "The answer begins with <think>: the server does not tell thoughts from the answer.",
    "Everything works. If the server is yours, switch its reasoning parser on (llama.cpp:"
    " --reasoning-format deepseek; vLLM: --reasoning-parser), and the thoughts are folded away.",
)
no_usage = static(
    "Tokens are not counted",
    "The answer does not tell how many tokens it used.",
    "Everything works; tokens and costs are estimated, and marked as such.",
)
