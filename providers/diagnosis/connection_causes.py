"""Causes of a failed call that lie in its address, or on the way to the server.

Nothing is decided here: diagnosis.py says which of them speaks.
"""

from providers.diagnosis.types import ENDPOINT, NETWORK, Diagnosis, FailureContext, Fix, said
from providers.domain import base_url
from providers.vendors import presets


def address_refused(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{base_url.host(e.address)} is an address this instance does not call: link-local"
        " addresses hold the secrets of cloud machines, and private ones may be forbidden here.",
        advice="Use the provider's public address, or ask the operator about"
        " ALLOW_PRIVATE_ADDRESSES.",
    )


def doubled(e: FailureContext) -> Diagnosis:
    once = base_url.tidy(base_url.undoubled(e.address)).url
    return Diagnosis(
        title=ENDPOINT,
        cause="The version is in the address twice.",
        advice=f"It should read {once}.",
        fix=Fix(field=e.address_field, value=once, label=f"Use {once}"),
    )


def untidy(e: FailureContext) -> Diagnosis:
    tidied = base_url.tidy(e.address)
    return Diagnosis(
        title=ENDPOINT,
        cause="There is something in the address that does not belong there.",
        advice=f"It should read {tidied.url}. {' '.join(tidied.changes)}",
        fix=Fix(field=e.address_field, value=tidied.url, label=f"Use {tidied.url}"),
    )


def misshapen(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=said(e).removeprefix(f"{ENDPOINT}: ").capitalize(),
        advice="An address looks like https://api.example.com/v1.",
        fix=_fix_preset_url(e),
    )


def redirected(e: FailureContext) -> Diagnosis:
    """Not followed: who sends callers elsewhere could send their keys there."""
    here, there = base_url.host(e.address), base_url.host(e.location)
    leads = base_url.led_to(e.address, e.location)
    fix = Fix(field=e.address_field, value=leads, label=f"Use {leads}") if leads else None
    if not leads:
        advice = "Use the address of the API itself; what answers here is often a website."
    elif base_url.name(leads) != base_url.name(e.address):
        advice = f"Use {leads} if you know that {there} is the provider's: your key goes there."
    else:
        advice = f"Use {leads}."
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{here} sends callers to {e.location or 'another address'}. That is not followed,"
        " as it could carry the key to another host.",
        advice=advice,
        fix=fix or _fix_secure(e),
    )


def _fix_secure(e: FailureContext) -> Fix | None:
    """Where it is not told where a redirect leads, it is mostly to the same address with https."""
    secure = e.address.replace("http://", "https://", 1)
    if e.location or secure == e.address or base_url.is_local(e.address):
        return None
    return Fix(field=e.address_field, value=secure, label=f"Use {secure}")


def html(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{base_url.host(e.address)} answered with a web page where data was expected: the"
        " address is that of a website, or a proxy or sign-in page answers in its place.",
        advice="Use the address of the API; it usually ends in /v1.",
        fix=_fix_version(e),
    )


def unreadable(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT, cause=said(e), advice="Check the address and the extra headers."
    )


def not_found(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=ENDPOINT,
        cause=f"{base_url.host(e.address)} answers, but there is nothing at this path (404).",
        advice="Check the path: it usually ends in /v1.",
        fix=_fix_version(e) or _fix_preset_url(e),
    )


def dns(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"There is no host named {base_url.host(e.address)}, or names cannot be looked up"
        " from here.",
        advice="Check the host's spelling and this machine's connection.",
    )


def certificate(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} cannot prove that it is what it says: {said(e)}"
        " The key was not sent.",
        advice="Use the name that the certificate is for. If you run the server, or your company"
        " does, add its certificate authority to this machine (SSL_CERT_FILE).",
        fix=_fix_plain(e),
    )


def tls(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} is there, but does not speak TLS as it should:"
        f" {said(e)} A server of plain http behind an https address looks like this.",
        advice="Check the port, and whether the address begins with http:// or https://.",
        fix=_fix_plain(e),
    )


def _fix_plain(e: FailureContext) -> Fix | None:
    """Plain http is offered only where nobody is in between."""
    if not base_url.is_private(e.address) or not e.address.startswith("https://"):
        return None
    url = e.address.replace("https://", "http://", 1)
    return Fix(field=e.address_field, value=url, label=f"Use {url}")


def local(e: FailureContext) -> Diagnosis:
    if e.in_container:
        inside = base_url.at(e.address, "host.docker.internal")
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
        cause=f"Nothing answers at {base_url.host(e.address)} on this machine: {said(e)}",
        advice="Start the program that should listen there, or correct the port.",
    )


def broken_off(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} accepted the connection and closed it without an"
        f" answer: {said(e)}",
        advice="Check that the address and port belong to the API, whether it expects https, and"
        " the server's own log.",
    )


def network(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} cannot be reached: {said(e)}",
        advice="Check the address, the port, and whether the service is running.",
    )


def unreached(e: FailureContext) -> Diagnosis:
    return Diagnosis(
        title=NETWORK,
        cause=f"{base_url.host(e.address)} did not answer within the time allowed.",
        advice="Check host and port, and whether a firewall blocks the connection.",
    )


def gateway_away(e: FailureContext) -> Diagnosis:
    if e.gateway_endpoint:
        return Diagnosis(
            title=NETWORK,
            cause=f"The LiteLLM gateway at {base_url.host(e.gateway_endpoint)} cannot be reached:"
            f" {said(e)}",
            advice="Start the LiteLLM proxy, or correct its address under Routing. The direct"
            " connection works without it.",
        )
    return Diagnosis(
        title="The gateway process does not answer",
        cause=said(e),
        advice="It is started together with the site and comes back by itself; if it does not, run"
        " ./dev logs and look for gateway. The direct connection works without it.",
    )


def _fix_version(e: FailureContext) -> Fix | None:
    versioned = base_url.with_version(e.address)
    return (
        Fix(field=e.address_field, value=versioned, label=f"Use {versioned}") if versioned else None
    )


def _fix_preset_url(e: FailureContext) -> Fix | None:
    known = presets.get(e.preset).base_url
    if e.address_field != "base_url" or known in ("", e.base_url):
        return None
    return Fix(field="base_url", value=known, label=f"Use {known}")
