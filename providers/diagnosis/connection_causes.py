"""Causes of a failed call that lie in its address, or on the way to the server.

Each function explains one cause; diagnose.py decides which one applies.
"""

from providers.diagnosis.types import (
    ENDPOINT,
    NETWORK,
    Diagnosis,
    FailureContext,
    Fix,
    error_sentence,
)
from providers.domain import base_url
from providers.vendors import presets


def blocked_address(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"This instance does not call {base_url.host(e.address)}. Link-local addresses are"
        " always blocked, because they expose the credentials of cloud machines; private ones can"
        " be blocked by the operator.",
        advice="Use the provider's public address. To allow a private one, ask the operator about"
        " ALLOW_PRIVATE_ADDRESSES.",
    )


def doubled_version(e: FailureContext) -> Diagnosis:
    url = base_url.tidy(base_url.without_doubled_version(e.address)).url
    return Diagnosis(
        title=ENDPOINT,
        cause="The version is in the address twice.",
        advice=f"Change it to {url}.",
        fix=_set_address(e, url),
    )


def untidy_address(e: FailureContext) -> Diagnosis:
    tidied = base_url.tidy(e.address)
    return Diagnosis(
        title=ENDPOINT,
        cause="The address contains more than the base URL.",
        advice=f"Change it to {tidied.url}. {' '.join(tidied.changes)}",
        fix=_set_address(e, tidied.url),
    )


def invalid_address(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=error_sentence(e).removeprefix(f"{ENDPOINT}: ").capitalize(),
        advice="Enter an address like https://api.example.com/v1.",
        fix=_use_preset_address(e),
    )


def redirect(e: FailureContext) -> Diagnosis:
    """Redirects are not followed: a server could send callers, and their keys, elsewhere."""
    here, there = base_url.host(e.address), base_url.host(e.location)
    target = base_url.redirect_target(e.address, e.location)
    if not target:
        advice = "Enter the address of the API. An address that redirects often is a website."
    elif base_url.host_name(target) != base_url.host_name(e.address):
        advice = f"Use {target} if {there} belongs to the provider: your key is sent there."
    else:
        advice = f"Use {target}."
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{here} redirects to {e.location or 'another address'}. Redirects are not followed:"
        " one could carry the key to another host.",
        advice=advice,
        fix=_set_address(e, target) if target else _use_https(e),
    )


def web_page(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{base_url.host(e.address)} answered with a web page instead of data. The address"
        " may be that of a website, or a proxy or sign-in page answered in its place.",
        advice="Enter the address of the API. It usually ends in /v1.",
        fix=_add_version(e),
    )


def unusable_address(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=error_sentence(e),
        advice="Check the address and the extra headers.",
    )


def wrong_path(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{base_url.host(e.address)} answers, but has nothing at this path (404).",
        advice="Check the path. It usually ends in /v1.",
        fix=_add_version(e) or _use_preset_address(e),
    )


def unknown_host(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"There is no host named {base_url.host(e.address)}, or this machine cannot look up"
        " names.",
        advice="Check the spelling of the host and this machine's network connection.",
    )


def invalid_certificate(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"The certificate of {base_url.host(e.address)} could not be verified:"
        f" {error_sentence(e)} The key was not sent.",
        advice="Use the host name that the certificate was issued for. If you or your company run"
        " the server, add its certificate authority to this machine (SSL_CERT_FILE).",
        fix=_use_http(e),
    )


def tls_failure(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} answers, but does not speak TLS: {error_sentence(e)}"
        " It may be a plain http server.",
        advice="Check the port, and whether the address begins with http:// or https://.",
        fix=_use_http(e),
    )


def local_server_down(e: FailureContext) -> Diagnosis:
    if e.in_container:
        outside = base_url.with_host(e.address, "host.docker.internal")
        return Diagnosis(
            title=NETWORK,
            cause="OpenCode Web runs in a container, where localhost is the container itself and"
            " not the machine around it.",
            advice="Use the machine's name as seen from the container, and make the provider"
            " listen on that address.",
            fix=Fix(field=e.address_field, value=outside, label="Use host.docker.internal"),
        )
    return Diagnosis(
        title=NETWORK,
        cause=f"Nothing answers at {base_url.host(e.address)} on this machine: {error_sentence(e)}",
        advice="Start the program that listens on this port, or correct the port.",
    )


def connection_closed(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} accepted the connection and closed it without an"
        f" answer: {error_sentence(e)}",
        advice="Check that the address and port belong to the API, whether it expects https, and"
        " the server's log.",
    )


def unreachable_host(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} cannot be reached: {error_sentence(e)}",
        advice="Check the address and the port, and that the service is running.",
    )


def connect_timeout(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} did not answer within the time limit.",
        advice="Check the host and the port, and whether a firewall blocks the connection.",
    )


def unreachable_gateway(e: FailureContext) -> Diagnosis:
    if e.gateway_endpoint:
        return Diagnosis(
            title=NETWORK,
            cause=f"The LiteLLM gateway at {base_url.host(e.gateway_endpoint)} cannot be reached:"
            f" {error_sentence(e)}",
            advice="Start the LiteLLM proxy, or correct the gateway's address. The direct"
            " connection works without it.",
        )
    return Diagnosis(
        title="The gateway process does not answer",
        cause=error_sentence(e),
        advice="Wait a moment: it restarts by itself. If it does not, look for gateway in the"
        " output of ./dev logs. The direct connection works without it.",
    )


def _set_address(e: FailureContext, url: str) -> Fix:
    return Fix(field=e.address_field, value=url, label=f"Use {url}")


def _add_version(e: FailureContext) -> Fix | None:
    url = base_url.with_version(e.address)
    return _set_address(e, url) if url else None


def _use_https(e: FailureContext) -> Fix | None:
    """A redirect without a location mostly leads to the same address with https."""
    secure = e.address.replace("http://", "https://", 1)
    if e.location or secure == e.address or base_url.is_local(e.address):
        return None
    return _set_address(e, secure)


def _use_http(e: FailureContext) -> Fix | None:
    """Plain http is offered only where nobody is in between."""
    if not base_url.is_private(e.address) or not e.address.startswith("https://"):
        return None
    return _set_address(e, e.address.replace("https://", "http://", 1))


def _use_preset_address(e: FailureContext) -> Fix | None:
    url = presets.get(e.preset).base_url
    if e.address_field != "base_url" or url in ("", e.base_url):
        return None
    return Fix(field="base_url", value=url, label=f"Use {url}")
