"""Reads LiteLLM's config.yaml into entries. No I/O.

LiteLLM lists models, we list accounts: rows with the same address, key, headers and parameters
become one provider. Each `model_name` becomes an alias; rows that share one keep their order.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from providers.importing import litellm_rows
from providers.importing.fields import Section, differences
from providers.importing.litellm_rows import Deployment, LitellmAccount
from providers.importing.litellm_vendors import title
from providers.importing.placeholders import Filling, from_litellm
from providers.importing.schema import (
    Malformed,
    ModelEntry,
    Parsed,
    ProviderEntry,
    Resolve,
    Skipped,
    address,
    slugify_name,
)
from providers.vendors import offline_catalog, presets

SOURCE = "LiteLLM config.yaml"
_ANY_NAME = "In LiteLLM, any other name was sent to {}; here each model has its own name."


def parse(document: Any, resolve: Resolve) -> Parsed:
    """Raises Malformed if there is no list of models."""
    root = Section.of_document(document)
    credentials = _read_credentials(root)
    variables = root.table_if_any("environment_variables")
    rows, skipped = _read_rows(root, credentials)
    _report_overridden(root, rows)
    reader = _EntryBuilder(lambda kind, name: _resolve_in_file(variables, resolve, kind, name))
    entries, refused = reader.entries(rows)
    named = _with_names(
        entries, rows, reader.slugs, _group_aliases(root, {row.name for row in rows})
    )
    return Parsed(SOURCE, named, (*skipped, *refused), root.usage.list_unused(document))


def _resolve_in_file(variables: Section, resolve: Resolve, kind: str, name: str) -> str | None:
    """A variable that the file itself sets comes first."""
    if kind == "env" and name in variables:
        return variables.words(name)
    return resolve(kind, name)


def _read_credentials(root: Section) -> dict[str, Section]:
    """LiteLLM's credential_list: what rows name by `litellm_credential_name`."""
    credentials = {}
    listed = root.fields.get("credential_list")
    for number, raw in enumerate(root.rows("credential_list") if isinstance(listed, list) else ()):
        if isinstance(raw, dict):
            row = root.row("credential_list", number)
            credentials[row.words("credential_name")] = row.table_if_any("credential_values")
    return credentials


def _read_rows(
    root: Section, credentials: Mapping[str, Section]
) -> tuple[list[Deployment], list[Skipped]]:
    """Reads each row of the list; one that is malformed is skipped."""
    priced, rows, skipped = offline_catalog.priced_models(), list[Deployment](), list[Skipped]()
    for number, raw in enumerate(root.rows("model_list")):
        name = str(raw.get("model_name") or "")[:100] if isinstance(raw, dict) else ""
        try:
            row = root.row("model_list", number)
            try:
                read = litellm_rows.read_row(row, credentials, priced)
            except Malformed:
                row.use_all()  # it is reported as skipped
                raise
        except Malformed as exc:
            skipped.append(Skipped.because(name or f"model_list[{number}]", exc))
            continue
        rows.append(read)
    return rows, skipped


def _report_overridden(root: Section, rows: list[Deployment]) -> None:
    """Report values of later rows that contradict the first row of a model, which is used."""
    first: dict[tuple[LitellmAccount, str], Deployment] = {}
    for row in rows:
        same = first.setdefault((row.account, row.model_id), row)
        for lost in differences(row.facts, same.facts) if same is not row else ():
            root.ignore(f"model_list: {lost} of {row.name}")


def _group_aliases(root: Section, names: set[str]) -> dict[str, str]:
    """The router's `model_group_alias`: further names; those without a target stay unread."""
    settings, key = root.table_if_any("router_settings"), "model_group_alias"
    if not isinstance(settings.fields.get(key), dict):
        return {}
    table, aliases = settings.named_members(key), {}
    for name, target in table.fields.items():
        named = target.get("model") if isinstance(target, dict) else target
        if not isinstance(named, str) or named not in names:
            continue
        aliases[name] = table.text(name) if named is target else table.table(name).text("model")
    return aliases


class _EntryBuilder:
    """Builds one entry per account; `slugs` has the slug of each."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self.slugs: dict[LitellmAccount, str] = {}

    def entries(self, rows: list[Deployment]) -> tuple[list[ProviderEntry], list[Skipped]]:
        groups: dict[LitellmAccount, list[Deployment]] = {}
        for row in rows:
            groups.setdefault(row.account, []).append(row)
        entries, skipped = list[ProviderEntry](), list[Skipped]()
        for account, members in groups.items():
            try:
                entry = self._entry(account, members)
            except Malformed as exc:
                skipped += [Skipped.because(each.name, exc) for each in members]
            else:
                entries.append(_with_number(entry, set(self.slugs.values())))
                self.slugs[account] = entries[-1].slug
        return entries, skipped

    def _entry(self, account: LitellmAccount, rows: list[Deployment]) -> ProviderEntry:
        preset, filling = presets.get(account.preset), Filling(self._resolve)
        place = f"{rows[0].place}.litellm_params"
        filled = filling.address(from_litellm(account.address))
        url = litellm_rows.complete_address(filled, account.preset) if filled else ""
        headers = {name: from_litellm(text) for name, text in json.loads(account.headers).items()}
        name = _name(account)
        return ProviderEntry(
            slug=slugify_name(
                account.litellm_provider or (name if preset.is_custom else preset.slug)
            ),
            name=name[:100],
            kind=preset.kind.value,
            base_url=address(url, f"{place}.api_base") if url else "",
            preset=preset.slug,
            api_key=filling.key(from_litellm(account.key), "key", f"{place}.api_key"),
            headers=filling.headers(headers, f"{place}.extra_headers"),
            litellm_provider=account.litellm_provider or None,
            litellm_params=filling.parameters(json.loads(account.params)) or None,
            settings={"provider_type": "gateway-required"} if account.litellm_provider else {},
            models=_models(account, rows),
            missing=tuple(filling.missing),
            notes=_notes(account, rows),
        )


def _name(account: LitellmAccount) -> str:
    if account.litellm_provider:
        return title(account.litellm_provider)
    preset = presets.get(account.preset)
    return _host(account.address) if preset.is_custom else preset.name


def _host(written: str) -> str:
    """The host of a URL, or the variable that holds it."""
    plain = from_litellm(written).replace("{env:", "").replace("${", "").replace("}", "")
    try:
        return urlsplit(plain).netloc or plain
    except ValueError:
        return plain


def _with_number(entry: ProviderEntry, taken: set[str]) -> ProviderEntry:
    """Numbers several accounts at one vendor, in the order of the file."""
    slug, number = entry.slug, 1
    while slug in taken:
        number += 1
        slug = f"{entry.slug[:45]}-{number}"
    return entry if number == 1 else replace(entry, slug=slug, name=f"{entry.name} {number}")


def _models(account: LitellmAccount, rows: list[Deployment]) -> tuple[ModelEntry, ...]:
    """Each model once: the facts of its first row, and what later ones add."""
    models: dict[str, ModelEntry] = {}
    for row in rows:
        if row.is_wildcard:
            for model_id in _offline_models(account):
                models.setdefault(model_id, ModelEntry(model_id=model_id, facts={"name": model_id}))
            continue
        facts = dict(row.facts)
        facts |= {} if facts["kind"] == "chat" else {"enabled": False}
        before = models.get(row.model_id)
        if before:
            facts |= before.facts
        models[row.model_id] = ModelEntry(model_id=row.model_id, facts=facts)
    return tuple(models.values())


def _offline_models(account: LitellmAccount) -> list[str]:
    """All models of a vendor without a list to fetch; those of others are discovered."""
    return (
        sorted(offline_catalog.litellm_models(account.litellm_provider))
        if account.litellm_provider
        else []
    )


def _notes(account: LitellmAccount, rows: list[Deployment]) -> tuple[str, ...]:
    notes = []
    wild = [row.name for row in rows if row.is_wildcard]
    if wild:
        where = (
            "from the offline catalogue" if account.litellm_provider else "as discovery finds them"
        )
        notes.append(f"{', '.join(wild)}: all models of this vendor, {where}.")
    notes += [_ANY_NAME.format(r.model_id) for r in rows if "*" in r.name and not r.is_wildcard]
    first: dict[str, Deployment] = {}
    for row in rows:
        same = first.setdefault(row.model_id, row)
        if same is not row and same.facts.get("parameters") != row.facts.get("parameters"):
            notes.append(f"{row.name} uses the chat parameters of {same.name}: they are one model.")
    return tuple(dict.fromkeys(notes))


def _with_names(
    entries: list[ProviderEntry],
    rows: list[Deployment],
    slugs: Mapping[LitellmAccount, str],
    group_aliases: Mapping[str, str],
) -> tuple[ProviderEntry, ...]:
    """Adds each name to its models in order: the first answers, the others are its fallbacks."""
    targets: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for row in sorted(rows, key=lambda each: each.order):
        if row.account in slugs and not row.is_wildcard and "*" not in row.name:
            targets[row.name][slugs[row.account], row.model_id] = None
    for name, group in group_aliases.items():
        if group in targets and name not in targets:
            targets[name] = dict(targets[group])
    names: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for name, models in targets.items():
        for position, key in enumerate(models):
            names[key][name] = position
    return tuple(
        replace(
            entry,
            models=tuple(
                replace(model, names=names.get((entry.slug, model.model_id), {}))
                for model in entry.models
            ),
        )
        for entry in entries
    )
