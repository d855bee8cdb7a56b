"""The causes of a failed call in plain words, each with what to do and, where possible, the fix.

Nothing is decided here: diagnosis.py says which of them speaks. A fix is a form field and its new
value, nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from providers import addresses, presets
from providers.errors import CallError
from providers.types import Kind, Method

AUTH = "Authentication failed - check API key"
NETWORK = "Network error - check endpoint and connection"
ENDPOINT = "Invalid endpoint - check URL format"
RATE_LIMIT = "Rate limit exceeded - try again later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one failed step: the error, and the form it was tried with.

    `succeeded` names the steps that went well on the same road; `in_container` is whether this
    program runs in one, where localhost means something else.
    """

    method: Method
    step: str
    error: CallError
    base_url: str
    gateway_endpoint: str = ""
    preset: str = "custom"
    kind: Kind = Kind.OPENAI
    has_key: bool = False
    model_id: str = ""
    succeeded: frozenset[str] = field(default_factory=frozenset)
    in_container: bool = False

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def address(self) -> str:
        """The address that this road called."""
        if self.method == Method.GATEWAY and self.gateway_endpoint:
            return self.gateway_endpoint
        return self.base_url

    @property
    def address_field(self) -> str:
        """The form's field that holds that address."""
        through_proxy = self.method == Method.GATEWAY and self.gateway_endpoint
        return "gateway_endpoint" if through_proxy else "base_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A field of the provider's form and the value that mends it."""

    field: str
    value: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`title` is the failure in a line, `cause` why, `advice` what to do; seconds to wait."""

    title: str
    cause: str
    advice: str
    fix: Fix | None = None
    retry_after: float | None = None


type Words = Callable[[Evidence], Diagnosis]


def zai_mix_up(e: Evidence) -> Diagnosis:
    other = addresses.zai_other(e.base_url)
    here, there = ("Coding Plan", "pay-as-you-go")
    if not addresses.is_zai_coding(e.base_url):
        here, there = there, here
    return Diagnosis(
        title="Wrong base URL for this key",
        cause=f"Z.ai answered {e.error.status or 429} with code {e.code}. That is not a rate limit:"
        f" this is the {here} address, and the key belongs to the {there} one. The two kinds of"
        " key are not interchangeable, and no other road to the same address helps.",
        advice=f"Use {other}, or enter a key for the {here} address. If the key does belong here,"
        " its balance or plan is used up.",
        fix=Fix(field="base_url", value=other, label=f"Use the {there} address"),
    )


def gateway_away(e: Evidence) -> Diagnosis:
    if e.gateway_endpoint:
        return Diagnosis(
            title=NETWORK,
            cause=f"The LiteLLM gateway at {addresses.host(e.gateway_endpoint)} cannot be reached:"
            f" {_said(e)}",
            advice="Start the LiteLLM proxy, or correct its address under Routing. The direct road"
            " works without it.",
        )
    return Diagnosis(
        title="The gateway process does not answer",
        cause=_said(e),
        advice="It is started together with the site and comes back by itself; if it does not, run"
        " ./dev logs and look for gateway. The direct road works without it.",
    )


def gateway_lacks_model(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title="The gateway does not serve this model",
        cause=f"The LiteLLM proxy at {addresses.host(e.gateway_endpoint)} has no model"
        f" {e.model_id or 'of this name'} in its configuration.",
        advice="Add it to the proxy's model_list under the same name, or leave the gateway's"
        " address empty to use this program's own gateway.",
    )


def address_refused(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{addresses.host(e.address)} is an address this instance does not call: link-local"
        " addresses hold the secrets of cloud machines, and private ones may be forbidden here.",
        advice="Use the provider's public address, or ask the operator about"
        " ALLOW_PRIVATE_ADDRESSES.",
    )


def doubled(e: Evidence) -> Diagnosis:
    once = addresses.undoubled(e.base_url)
    return Diagnosis(
        title=ENDPOINT,
        cause="The version is in the address twice.",
        advice=f"It should read {once}.",
        fix=Fix(field="base_url", value=once, label=f"Use {once}"),
    )


def pasted_call(e: Evidence) -> Diagnosis:
    url = addresses.tidy(e.base_url).url
    return Diagnosis(
        title=ENDPOINT,
        cause="The address ends in the name of a call, which is added to every call by itself.",
        advice=f"It should read {url}.",
        fix=Fix(field="base_url", value=url, label=f"Use {url}"),
    )


def html(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{addresses.host(e.address)} answered with a web page where data was expected: the"
        " address is that of a website, or a proxy or sign-in page stands in between.",
        advice="Use the address of the API; it usually ends in /v1.",
        fix=_fix_version(e),
    )


def redirected(e: Evidence) -> Diagnosis:
    secure = e.address.replace("http://", "https://", 1)
    known = secure != e.address and not addresses.is_local(e.address)
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{addresses.host(e.address)} sends callers elsewhere. A redirect is not followed, as"
        " it could carry the key to another host.",
        advice="Use the address it leads to; often that is the same one with https.",
        fix=Fix(field=e.address_field, value=secure, label=f"Use {secure}") if known else None,
    )


def unreadable(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT, cause=_said(e), advice="Check the address and the extra headers."
    )


def not_found(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{addresses.host(e.address)} answers, but there is nothing at this path (404).",
        advice="Check the path: it usually ends in /v1.",
        fix=_fix_version(e) or _fix_preset_url(e),
    )


def model_missing(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title="The model was not found",
        cause=f"The provider answers, but does not know {e.model_id or 'the model'}, or this key"
        " may not use it.",
        advice="Refresh the list of models and pick one that it names.",
    )


def no_key(e: Evidence) -> Diagnosis:
    where = presets.get(e.preset).key_url
    return Diagnosis(
        title=AUTH,
        cause="The provider wants an API key, and none is set.",
        advice=f"Get one at {where} and enter it." if where else "Enter the provider's API key.",
    )


def forbidden(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=AUTH,
        cause=f"The key is known, but may not do this (403): {_said(e)}",
        advice="Look at the key's rights, the account's region and its organisation at the"
        " provider; a new key alone rarely helps.",
    )


def unauthorised(e: Evidence) -> Diagnosis:
    hint = presets.get(e.preset).key_hint
    return Diagnosis(
        title=AUTH,
        cause="The provider does not accept this key"
        f"{f' ({e.error.status})' if e.error.status else ''}: it is mistyped, revoked, or belongs"
        " to another provider or address.",
        advice=f"Enter it again. {hint}." if hint else "Enter it again.",
    )


def quota(e: Evidence) -> Diagnosis:
    wait = e.error.retry_after
    return Diagnosis(
        title="The balance or plan is used up",
        cause=f"The provider says that this account may not spend more"
        f"{f' (code {e.code})' if e.code else ''}: {_said(e)}",
        advice="It starts anew at the time the provider named."
        if wait
        else "Top up the account or change the plan at the provider, then test again.",
        retry_after=wait,
    )


def overloaded(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title="The provider is overloaded",
        cause=f"It has more to do than it can: {_said(e)}",
        advice="Try again in a minute; another road leads to the same provider.",
        retry_after=e.error.retry_after,
    )


def unreached(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{addresses.host(e.address)} did not answer within the time allowed.",
        advice="Check host and port, and whether a firewall stands in between.",
    )


def local(e: Evidence) -> Diagnosis:
    if e.in_container:
        inside = e.address.replace("localhost", "host.docker.internal", 1)
        inside = inside.replace("127.0.0.1", "host.docker.internal", 1)
        return Diagnosis(
            title=NETWORK,
            cause="This program runs in a container, where localhost is the container itself and"
            " not the machine around it.",
            advice="Use the machine's name as seen from the container, and let the provider"
            " listen on it.",
            fix=Fix(field=e.address_field, value=inside, label="Use host.docker.internal"),
        )
    return Diagnosis(
        title=NETWORK,
        cause=f"Nothing answers at {addresses.host(e.address)} on this machine: {_said(e)}",
        advice="Start the program that should listen there, or correct the port.",
    )


def dns(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"There is no host named {addresses.host(e.address)}, or names cannot be looked up"
        " from here.",
        advice="Check the host's spelling and this machine's connection.",
    )


def tls(e: Evidence) -> Diagnosis:
    plain = addresses.is_local(e.address) and e.address.startswith("https://")
    url = e.address.replace("https://", "http://", 1)
    return Diagnosis(
        title=NETWORK,
        cause=f"The secure connection failed: {_said(e)} A self-signed or expired certificate, or"
        " plain http behind an https address, looks like this.",
        advice="Use an address whose certificate is trusted, or add the certificate authority to"
        " this machine (SSL_CERT_FILE).",
        fix=Fix(field=e.address_field, value=url, label=f"Use {url}") if plain else None,
    )


def network(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{addresses.host(e.address)} cannot be reached: {_said(e)}",
        advice="Check the address, the port, and whether the service is running.",
    )


def gateway_failed(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title="The gateway failed",
        cause=f"The gateway itself could not do its work: {_said(e)}",
        advice="Look at the gateway's log. The direct road works without it.",
    )


def refused_request(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title="The provider refused the request",
        cause=f"Status {e.error.status or 'unknown'}"
        f"{f', code {e.code}' if e.code else ''}: {_said(e)}",
        advice="Check that the wire format (OpenAI or Anthropic) fits the provider, and the model.",
    )


def provider_failed(e: Evidence) -> Diagnosis:
    return Diagnosis(
        title="The provider failed",
        cause=f"Key and address seem fine, but the provider had an error of its own: {_said(e)}",
        advice="Try again; if it lasts, look at the provider's status page.",
        retry_after=e.error.retry_after,
    )


def _said(e: Evidence) -> str:
    message = e.error.message.strip() or e.error.kind.value
    return message if message.endswith((".", "!", "?")) else f"{message}."


def _fix_version(e: Evidence) -> Fix | None:
    versioned = addresses.with_version(e.address)
    return (
        Fix(field=e.address_field, value=versioned, label=f"Use {versioned}") if versioned else None
    )


def _fix_preset_url(e: Evidence) -> Fix | None:
    known = presets.get(e.preset).base_url
    if e.address_field != "base_url" or known in ("", e.base_url):
        return None
    return Fix(field="base_url", value=known, label=f"Use {known}")


def _static(title: str, cause: str, advice: str) -> Words:
    return lambda e: Diagnosis(
        title=title, cause=cause, advice=advice, retry_after=e.error.retry_after
    )


gateway_refuses = _static(
    AUTH,
    "The gateway refused its own key; the provider was never asked.",
    "Enter the LiteLLM proxy's key (its master key or a virtual key) as gateway key.",
)
gateway_token = _static(
    AUTH,
    "This program's gateway process was started with another token than the site; the provider was"
    " never asked.",
    "Restart the site and its gateway together.",
)
litellm_missing = _static(
    "The gateway process cannot work",
    "LiteLLM is not installed where the gateway process runs.",
    "Install the requirements again: ./dev up does it. The direct road works without it.",
)
list_missing = _static(
    "This provider does not list its models",
    "There is no list of models at this address that this key may read, but a chat works.",
    "Nothing is wrong: models come from the offline catalogue, or are added by hand.",
)
rate_limit = _static(
    RATE_LIMIT,
    "The provider takes no more requests from this key for the moment (429). Key and address are"
    " fine.",
    "Wait, then test again.",
)
first_token = _static(
    "No answer in time",
    "The provider took the request, but nothing came back within the time allowed.",
    "It may be busy, loading the model, or thinking for long. Try again; where it always thinks"
    " long, raise TIMEOUT_FIRST_TOKEN.",
)
truncated = _static(
    "The answer broke off",
    "The stream ended without saying that it was finished.",
    "Try again; if it happens every time, a proxy in between cuts long answers.",
)
