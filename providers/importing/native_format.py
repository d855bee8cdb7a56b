"""Writes and reads this program's own export format, version 1. No I/O.

A plain export replaces each secret by `{env:NAME}`. A sealed one is the same document with its
secrets, encrypted with AES-256-GCM under a key that scrypt derives from the passphrase, as
docs/migration.md describes. The cost of scrypt is fixed, so that no file can choose it.
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

from providers.domain.types import is_credential
from providers.importing.fields import Section
from providers.importing.placeholders import Filling
from providers.importing.schema import (
    MAX_MODELS,
    Malformed,
    ModelEntry,
    Parsed,
    ProviderEntry,
    Resolve,
    Skipped,
    address,
    expect,
    slugify_name,
)
from providers.protocols import model_list

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


def document(entries: Sequence[ProviderEntry], *, secrets: bool) -> dict[str, Any]:
    """All of them as one JSON document."""
    variables = Variables()
    return {
        "format": FORMAT,
        "version": VERSION,
        "providers": [_write_entry(entry, variables, secrets=secrets) for entry in entries],
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


def _write_entry(entry: ProviderEntry, variables: Variables, *, secrets: bool) -> dict[str, Any]:
    def secret(value: str | None, what: str) -> str:
        return "" if not value else value if secrets else variables.name(entry.slug, what)

    headers = {name: secret(value, name) for name, value in (entry.headers or {}).items()}
    params = {
        name: secret(value, name) if isinstance(value, str) and is_credential(name) else value
        for name, value in (entry.litellm_params or {}).items()
    }
    return {
        "slug": entry.slug,
        "name": entry.name,
        "preset": entry.preset,
        "kind": entry.kind,
        "base_url": entry.base_url,
        "api_key": secret(entry.api_key, "api_key"),
        "headers": headers,
        "gateway_api_key": secret(entry.gateway_api_key, "gateway_api_key"),
        **({"litellm_provider": entry.litellm_provider} if entry.litellm_provider else {}),
        **({"litellm_params": params} if params else {}),
        **entry.settings,
        "alternatives": list(entry.alternatives or ()),
        "models": [_write_model(model) for model in entry.models],
    }


def _write_model(model: ModelEntry) -> dict[str, Any]:
    facts = {key: value for key, value in model.facts.items() if value is not None}
    prices = {key: f"{facts[key]:f}" for key in _PRICES if key in facts}
    names = {"names": dict(model.names)} if model.names else {}
    return {"id": model.model_id} | facts | prices | names


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
            base64.b64decode(expect(sealed.get(name), str, name), validate=True)
            for name in ("salt", "nonce", "data")
        )
        return json.loads(AESGCM(_key(passphrase, salt)).decrypt(nonce, data, _ABOUT))
    except (InvalidTag, ValueError):
        raise Malformed("The passphrase is wrong, or the file was changed.") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_COST).derive(passphrase.encode())


def _check_version(document: Mapping[str, Any]) -> None:
    if document.get("version") != VERSION:
        raise Malformed(f"version: only version {VERSION} of an export can be read.")


def parse(document: Any, resolve: Resolve) -> Parsed:
    """A plain document. Raises Malformed."""
    root = Section.of_document(document)
    root.take("format")
    _check_version({"version": root.take("version")})
    entries: dict[str, ProviderEntry] = {}
    skipped: list[Skipped] = []
    for number, raw in enumerate(root.rows("providers")):
        try:
            row = root.row("providers", number)
            try:
                entry = _entry(row, resolve)
                if entry.slug in entries:
                    raise Malformed(f"{row.place}.slug: another provider has this slug.")
            except Malformed:
                row.use_all()  # it is reported as skipped
                raise
        except Malformed as exc:
            name = raw.get("name") if isinstance(raw, dict) else None
            skipped.append(Skipped.because(str(name or f"providers[{number}]")[:100], exc))
        else:
            entries[entry.slug] = entry
    return Parsed(SOURCE, tuple(entries.values()), tuple(skipped), root.usage.list_unused(document))


def _entry(row: Section, resolve: Resolve) -> ProviderEntry:
    fill, kind = Filling(resolve), row.text("kind")
    if kind not in ("openai", "anthropic"):
        raise Malformed(f"{row.where('kind')}: openai or anthropic is expected.")
    name = row.text("name")[:100]
    if not name:
        raise Malformed(f"{row.where('name')}: a name is required.")
    vendor, params = row.text("litellm_provider"), _object(row, "litellm_params")
    url = fill.address(row.text("base_url"))
    is_elsewhere = not url and bool(vendor or fill.missing)  # LiteLLM's to know, or to be filled in
    return ProviderEntry(
        slug=slugify_name(row.text("slug") or name),
        name=name,
        kind=kind,
        preset=slugify_name(row.text("preset") or "custom"),
        base_url="" if is_elsewhere else address(url or "", row.where("base_url")),
        api_key=fill.key(row.text("api_key"), "key", row.where("api_key")),
        headers=fill.headers(_object(row, "headers"), row.where("headers")),
        gateway_api_key=fill.key(
            row.text("gateway_api_key"), "gateway key", row.where("gateway_api_key")
        ),
        litellm_provider=vendor or None,
        litellm_params=fill.parameters(params) or None,
        settings=_settings(row) | _parameters(row),
        alternatives=_alternatives(row),
        models=_models(row),
        missing=tuple(fill.missing),
    )


def _object(section: Section, name: str) -> dict[str, Any]:
    """An object that is stored unchanged."""
    return expect(section.take(name) or {}, dict, section.where(name))


def _alternatives(row: Section) -> tuple[str, ...] | None:
    named = row.names("alternatives")
    return None if named is None else tuple(sorted(named))


def _settings(row: Section) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, allowed in CHOICES.items():
        if chosen := row.text(name):
            settings[name] = chosen
            if chosen not in allowed:
                raise Malformed(f"{row.where(name)}: one of {', '.join(sorted(allowed))}.")
    for name in SWITCHES:
        if (switch := row.flag(name)) is not None:
            settings[name] = switch
    for name, (least, most) in _NUMBERS.items():
        if (number := row.number(name)) is not None:
            settings[name] = number
            if not least <= number <= most:
                raise Malformed(f"{row.where(name)}: from {least} to {most}.")
    if endpoint := row.text("gateway_endpoint"):
        settings["gateway_endpoint"] = address(endpoint, row.where("gateway_endpoint"))
    return settings


def _models(row: Section) -> tuple[ModelEntry, ...]:
    if "models" not in row:
        row.take("models")
        return ()
    count = len(row.rows("models"))
    if count > MAX_MODELS:
        raise Malformed(f"{row.where('models')}: more than {MAX_MODELS} models.")
    models = [_model(row.row("models", number)) for number in range(count)]
    return tuple({model.model_id: model for model in models}.values())


def _model(row: Section) -> ModelEntry:
    model_id = row.text("id")
    if not model_list.is_storable(model_id):
        raise Malformed(f"{row.where('id')}: 1 to 200 characters are expected.")
    facts: dict[str, Any] = {"name": (row.text("name") or model_id)[:200]}
    if kind := model_list.kind_of(row.text("kind")):
        facts["kind"] = kind
    for names, read in (
        (_LIMITS, Section.number),
        (_PRICES, Section.price),
        (_ABILITIES, Section.flag),
    ):
        values = {name: read(row, name) for name in names}
        facts |= {name: each for name, each in values.items() if each is not None}
    if alias := row.text("alias"):
        if len(alias) > 200 or not alias.isprintable():
            raise Malformed(f"{row.where('alias')}: up to 200 printable characters.")
        facts["alias"] = alias
    positions = _object(row, "names")
    if not all(isinstance(each, int) for each in positions.values()):
        raise Malformed(f"{row.where('names')}: a number is expected for each name.")
    return ModelEntry(model_id=model_id, facts=facts | _parameters(row), names=positions)


def _parameters(section: Section) -> dict[str, Any]:
    parameters = _object(section, "parameters")
    return {"parameters": parameters} if parameters else {}
