"""Build the target of one attempt from a provider's connection: address, key, time-outs."""

from collections.abc import Mapping
from dataclasses import field, replace
from hashlib import blake2b

from django.conf import settings

from providers.domain import http_headers
from providers.domain.frozen import frozen
from providers.domain.sealed import is_sealed
from providers.domain.types import Json, Kind, Method, Target, Timeouts, Upstream, is_credential
from providers.vendors import presets


@frozen
class Connection:
    """A provider's addresses, keys and protocol, stored or as typed into a form."""

    preset: str
    kind: Kind
    base_url: str
    api_key: str = field(default="", repr=False)
    headers: Json = field(default_factory=dict, repr=False)
    litellm_provider: str = ""
    litellm_params: Json = field(default_factory=dict, repr=False)
    gateway_endpoint: str = ""
    gateway_api_key: str = field(default="", repr=False)
    # Address and key of the gateways that the operator set up for every provider.
    fallback_gateways: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def endpoint(self) -> str:
        """The LiteLLM endpoint in force; empty for the gateway process."""
        return self.gateway_endpoint or settings.LITELLM_ENDPOINT or ""


def target(
    reached: Connection, method: Method, model_id: str = "", endpoint: str | None = None
) -> Target:
    """The target of one attempt: the provider itself, a LiteLLM endpoint, or the gateway process.

    `endpoint` is a gateway's address, empty for the gateway process; None for the provider's own.
    """
    times = timeouts(reached.preset)
    if method == Method.DIRECT:
        return Target(
            method=method,
            kind=reached.kind,
            base_url=reached.base_url,
            api_key=reached.api_key,
            model=model_id,
            timeouts=times,
            headers=_headers(reached),
            account_secrets=_secrets(reached),
            takes_responses=presets.get(reached.preset).takes_responses,
        )
    endpoint = reached.endpoint if endpoint is None else endpoint
    return Target(
        method=method,
        kind=Kind.OPENAI,
        base_url=endpoint or settings.GATEWAY_URL,
        api_key=_gateway_key(reached, endpoint) if endpoint else settings.GATEWAY_TOKEN,
        model=model_id,
        timeouts=times,
        upstream=None if endpoint else _upstream(reached, model_id),
        account_secrets=_secrets(reached),
    )


def _secrets(reached: Connection) -> tuple[str, ...]:
    """Every key, header value and credential of the provider and its gateways."""
    keys = (reached.api_key, reached.gateway_api_key, *reached.fallback_gateways.values())
    keys += tuple(str(v) for n, v in reached.litellm_params.items() if is_credential(n))
    return tuple(filter(None, map(str.strip, (*keys, *map(str, reached.headers.values())))))


def _gateway_key(reached: Connection, endpoint: str) -> str:
    """The key of this endpoint. A key is never sent to another endpoint than its own."""
    own = reached.gateway_api_key
    if endpoint == reached.endpoint and (own or is_sealed(own)):
        return own
    if endpoint == settings.LITELLM_ENDPOINT:
        return str(settings.LITELLM_API_KEY)
    return reached.fallback_gateways.get(endpoint, "")


def _upstream(reached: Connection, model_id: str) -> Upstream:
    prefix = presets.get(reached.preset).litellm_prefix
    prefix = "anthropic" if reached.kind == Kind.ANTHROPIC else prefix
    return Upstream(
        litellm_model=f"{reached.litellm_provider or prefix}/{model_id}",
        base_url=reached.base_url,
        api_key=reached.api_key,
        headers=_headers(reached),
        parameters=reached.litellm_params,
        has_list=not reached.litellm_provider,
    )


def _headers(reached: Connection) -> Json:
    """The preset's headers, overridden by the operator's. Sealed ones stay recognisable."""
    if is_sealed(reached.headers):
        return reached.headers
    return http_headers.merge(presets.get(reached.preset).headers, reached.headers)


# Parts of a header's name that identify an account.
_ACCOUNT = ("key", "auth", "token", "organization", "project")


def fingerprint(reached: Connection, method: Method, endpoint: str = "") -> str:
    """Identify the key and address that the upstream sees: equal for every route that uses them.

    Hashed with the instance's secret, so that it reveals nothing of the key. A LiteLLM proxy calls
    the upstream with a key from its own configuration.
    """
    parts = [reached.base_url.rstrip("/")]
    if method == Method.GATEWAY and endpoint:
        parts += [endpoint, _gateway_key(reached, endpoint)]
    else:
        named = {str(name).lower(): str(value) for name, value in reached.headers.items()}
        parts.append(reached.api_key.strip())
        parts += [f"{n}:{named[n]}" for n in sorted(named) if any(a in n for a in _ACCOUNT)]
        # LiteLLM signs in to some vendors with an account and a region, which are among these.
        parts += [
            f"{name}={reached.litellm_params[name]}" for name in sorted(reached.litellm_params)
        ]
    secret = settings.SECRET_KEY.encode()[:64]
    return blake2b("\0".join(parts).encode(), key=secret, digest_size=16).hexdigest()


def timeouts(preset_slug: str) -> Timeouts:
    """The instance's time-outs, overridden by the preset's."""
    preset = presets.get(preset_slug)
    return Timeouts(
        connect=settings.TIMEOUT_CONNECT,
        first_token=preset.first_token or settings.TIMEOUT_FIRST_TOKEN,
        silence=preset.silence or settings.TIMEOUT_SILENCE,
        total=settings.TIMEOUT_TOTAL,
        non_streaming=settings.TIMEOUT_WHOLE,
    )


def with_last_route_timeout(target: Target) -> Target:
    """The target with the longer time to first token of the last route."""
    times = target.timeouts
    first = max(times.first_token, settings.TIMEOUT_FIRST_TOKEN_LAST)
    return replace(target, timeouts=replace(times, first_token=first, start=first))


def with_total_timeout(target: Target, seconds: float) -> Target:
    """The target with so many seconds for the call."""
    times = replace(target.timeouts, first_token=seconds, total=seconds, start=seconds)
    return replace(target, timeouts=times)


def capped_at(target: Target, remaining: float) -> Target:
    """The target with no time-out longer than the seconds that the request has left."""
    times = target.timeouts
    return replace(
        target,
        timeouts=replace(
            times,
            first_token=min(times.first_token, remaining),
            non_streaming=min(times.non_streaming, remaining),
            total=min(times.total, remaining),
        ),
    )
