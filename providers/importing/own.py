"""Our own export, written and read: version 1, plain or sealed with a passphrase. No I/O.

Plain, it holds no secret: `{env:NAME}` stands where one was. Sealed, the same document with its
secrets is AES-256-GCM under a key that scrypt makes of the passphrase; docs/migration.md tells the
format. Its costs are fixed, so that no file can ask for a year of work.
"""

import base64
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from providers.importing.entries import (
    MOST_MODELS,
    Entry,
    Filling,
    Malformed,
    ModelEntry,
    Parsed,
    Resolve,
    address,
    expect,
    names,
    slugged,
    table,
    text,
)
from providers.importing.opencode import price, whole

SOURCE = "export of OpenCode Web"
FORMAT, SEALED, VERSION = "opencode-web", "opencode-web-sealed", 1
_COST = {"n": 2**15, "r": 8, "p": 1}  # 32 MB and about a tenth of a second
_ABOUT = b"opencode-web export 1"

CHOICES: Mapping[str, frozenset[str]] = {
    "provider_type": frozenset({"direct-api", "gateway-required", "hybrid", "legacy"}),
    "routing_method": frozenset({"auto", "direct", "gateway"}),
    "reasoning_tags": frozenset({"default", "split", "keep"}),
}
SWITCHES = ("prefer_direct", "fallback_enabled", "enabled", "chat_probe")
_NUMBERS = {"health_check_interval": (5, 86_400), "concurrency": (1, 1000)}
_LIMITS = ("context", "output_limit")
_PRICES = ("input_price", "output_price", "cache_read_price", "cache_write_price")
_ABILITIES = ("vision", "tools", "reasoning", "streaming", "json_output", "enabled")


def document(entries: Sequence[Entry], *, secrets: bool) -> dict[str, Any]:
    """All of them as one JSON document."""
    variables = Variables()
    return {
        "format": FORMAT,
        "version": VERSION,
        "providers": [_written(entry, variables, secrets=secrets) for entry in entries],
    }


class Variables:
    """The environment variables that a plain export names in place of its secrets.

    Every name can be set by a shell (POSIX, 8.1 Name) and belongs to one secret.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, slug: str, what: str) -> str:
        """A placeholder for one secret of a provider."""
        plain = re.sub(r"[^A-Z0-9_]", "_", f"{slug}_{what}".upper())
        first = plain if not plain[0].isdigit() else f"_{plain}"
        numbered = (f"{first}_{number}" for number in itertools.count(2))
        free = next(each for each in itertools.chain([first], numbered) if each not in self._taken)
        self._taken.add(free)
        return f"{{env:{free}}}"


def _written(entry: Entry, variables: Variables, *, secrets: bool) -> dict[str, Any]:
    def secret(value: str | None, what: str) -> str:
        return "" if not value else value if secrets else variables.name(entry.slug, what)

    headers = {name: secret(value, name) for name, value in (entry.headers or {}).items()}
    return {
        "slug": entry.slug,
        "name": entry.name,
        "preset": entry.preset,
        "kind": entry.kind,
        "base_url": entry.base_url,
        "api_key": secret(entry.api_key, "api_key"),
        "headers": headers,
        "gateway_api_key": secret(entry.gateway_api_key, "gateway_api_key"),
        **entry.settings,
        "alternatives": list(entry.alternatives or ()),
        "models": [_model_written(model) for model in entry.models],
    }


def _model_written(model: ModelEntry) -> dict[str, Any]:
    facts = {key: value for key, value in model.facts.items() if value is not None}
    prices = {key: f"{facts[key]:f}" for key in _PRICES if key in facts}
    return {"id": model.model_id} | facts | prices


def seal(plain: Mapping[str, Any], passphrase: str) -> dict[str, Any]:
    salt, nonce = os.urandom(16), os.urandom(12)
    data = AESGCM(_key(passphrase, salt)).encrypt(nonce, json.dumps(plain).encode(), _ABOUT)
    parts = {"salt": salt, "nonce": nonce, "data": data}
    encoded = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    return {"format": SEALED, "version": VERSION, **encoded}


def unseal(sealed: Mapping[str, Any], passphrase: str) -> Any:
    """The document inside. Raises Malformed."""
    _check_version(sealed)
    if not passphrase:
        raise Malformed("This export is encrypted: its passphrase is needed.")
    try:
        salt, nonce, data = (
            base64.b64decode(text(sealed, name, ""), validate=True)
            for name in ("salt", "nonce", "data")
        )
        return json.loads(AESGCM(_key(passphrase, salt)).decrypt(nonce, data, _ABOUT))
    except (InvalidTag, ValueError):
        raise Malformed("The passphrase is wrong, or the file was changed.") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_COST).derive(passphrase.encode())


def _check_version(said: Mapping[str, Any]) -> None:
    if said.get("version") != VERSION:
        raise Malformed(f"version: this is an export of another version; {VERSION} is read here.")


def parse(said: Any, resolve: Resolve) -> Parsed:
    """A plain document. Raises Malformed."""
    whole_file = expect(said, dict, "")
    _check_version(whole_file)
    rows = expect(whole_file.get("providers"), list, "providers")
    entries = tuple(_entry(row, f"providers[{n}]", resolve) for n, row in enumerate(rows))
    if len({entry.slug for entry in entries}) != len(entries):
        raise Malformed("providers: two of them have the same slug.")
    return Parsed(SOURCE, entries)


def _entry(row: Any, place: str, resolve: Resolve) -> Entry:
    said, fill = expect(row, dict, place), Filling(resolve)
    kind = text(said, "kind", place)
    if kind not in ("openai", "anthropic"):
        raise Malformed(f"{place}.kind: openai or anthropic is expected.")
    name = text(said, "name", place)[:100]
    slug = text(said, "slug", place) or name
    if not name:
        raise Malformed(f"{place}.name: every provider has one.")
    return Entry(
        slug=slugged(slug),
        name=name,
        kind=kind,
        preset=slugged(text(said, "preset", place) or "custom"),
        base_url=address(text(said, "base_url", place), f"{place}.base_url"),
        api_key=fill.key(text(said, "api_key", place), "key", f"{place}.api_key"),
        headers=fill.headers(table(said, "headers", place), f"{place}.headers"),
        gateway_api_key=fill.key(
            text(said, "gateway_api_key", place), "gateway key", f"{place}.gateway_api_key"
        ),
        settings=_settings(said, place) | _parameters(said, place),
        alternatives=_alternatives(said, place),
        models=_models(said, place),
        missing=tuple(fill.missing),
    )


def _alternatives(said: Mapping[str, Any], place: str) -> tuple[str, ...] | None:
    named = names(said, "alternatives", place)
    return None if named is None else tuple(sorted(named))


def _settings(said: Mapping[str, Any], place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, allowed in CHOICES.items():
        if said.get(name) is not None:
            found[name] = text(said, name, place)
            if found[name] not in allowed:
                raise Malformed(f"{place}.{name}: one of {', '.join(sorted(allowed))}.")
    for name in SWITCHES:
        if said.get(name) is not None:
            found[name] = expect(said[name], bool, f"{place}.{name}")
    for name, (least, most) in _NUMBERS.items():
        if said.get(name) is not None:
            found[name] = expect(said[name], int, f"{place}.{name}")
            if not least <= found[name] <= most:
                raise Malformed(f"{place}.{name}: from {least} to {most}.")
    if endpoint := text(said, "gateway_endpoint", place):
        found["gateway_endpoint"] = address(endpoint, f"{place}.gateway_endpoint")
    return found


def _models(said: Mapping[str, Any], place: str) -> tuple[ModelEntry, ...]:
    rows = expect(said.get("models", []), list, f"{place}.models")
    if len(rows) > MOST_MODELS:
        raise Malformed(f"{place}.models: more than {MOST_MODELS} models.")
    models = [_model(row, f"{place}.models[{n}]") for n, row in enumerate(rows)]
    return tuple({model.model_id: model for model in models}.values())


def _model(row: Any, place: str) -> ModelEntry:
    said = expect(row, dict, place)
    model_id = text(said, "id", place)
    if not 0 < len(model_id) <= 200:
        raise Malformed(f"{place}.id: 1 to 200 characters are expected.")
    facts: dict[str, Any] = {"name": (text(said, "name", place) or model_id)[:200]}
    facts |= {k: whole(said[k], f"{place}.{k}") for k in _LIMITS if said.get(k) is not None}
    facts |= {k: price(said[k], f"{place}.{k}") for k in _PRICES if said.get(k) is not None}
    facts |= {k: expect(said[k], bool, f"{place}.{k}") for k in _ABILITIES if k in said}
    if alias := text(said, "alias", place):
        if len(alias) > 200 or not alias.isprintable() or " " in alias:
            raise Malformed(f"{place}.alias: up to 200 characters without a space.")
        facts["alias"] = alias
    return ModelEntry(model_id=model_id, facts=facts | _parameters(said, place))


def _parameters(said: Mapping[str, Any], place: str) -> dict[str, Any]:
    found = table(said, "parameters", place)
    return {"parameters": found} if found else {}
