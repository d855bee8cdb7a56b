"""LiteLLM's config.yaml as entries. No I/O.

LiteLLM lists models, we list accounts: rows with the same address, key, headers and parameters are
one provider. Each `model_name` is kept as an alias; several rows of one name stay in their order.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from providers.importing import litellm_rows
from providers.importing.fields import Section, differences
from providers.importing.litellm_rows import Account, Deployment
from providers.importing.litellm_vendors import title
from providers.importing.placeholders import Filling, from_litellm
from providers.importing.schema import (
    Entry,
    Malformed,
    ModelEntry,
    Parsed,
    Resolve,
    Skipped,
    address,
    slugged,
)
from providers.vendors import offline_catalog, presets

SOURCE = "LiteLLM config.yaml"
_ANY_NAME = "Any name that nothing else had went to {}; here a model is asked for by its name."


def parse(document: Any, resolve: Resolve) -> Parsed:
    """Raises Malformed where there is no list of models."""
    whole = Section.whole(document)
    credentials = _credentials(whole)
    variables = whole.table_if_any("environment_variables")
    rows, skipped = _rows(whole, credentials)
    _report_lost(whole, rows)
    reader = _Reader(lambda kind, name: _looked_up(variables, resolve, kind, name))
    entries, refused = reader.entries(rows)
    named = _with_names(
        entries, rows, reader.slugs, _group_aliases(whole, {row.name for row in rows})
    )
    return Parsed(SOURCE, named, (*skipped, *refused), whole.account.unused(document))


def _looked_up(variables: Section, resolve: Resolve, kind: str, name: str) -> str | None:
    """What the file itself sets comes first."""
    if kind == "env" and name in variables:
        return variables.words(name)
    return resolve(kind, name)


def _credentials(whole: Section) -> dict[str, Section]:
    """LiteLLM's credential_list: what rows name by `litellm_credential_name`."""
    found = {}
    listed = whole.fields.get("credential_list")
    for number, raw in enumerate(whole.rows("credential_list") if isinstance(listed, list) else ()):
        if isinstance(raw, dict):
            row = whole.row("credential_list", number)
            found[row.words("credential_name")] = row.table_if_any("credential_values")
    return found


def _rows(
    whole: Section, credentials: Mapping[str, Section]
) -> tuple[list[Deployment], list[Skipped]]:
    """What can be read of the list; a row that cannot is skipped, and refuses no other."""
    known, rows, skipped = offline_catalog.priced_models(), list[Deployment](), list[Skipped]()
    for number, raw in enumerate(whole.rows("model_list")):
        name = str(raw.get("model_name") or "")[:100] if isinstance(raw, dict) else ""
        try:
            row = whole.row("model_list", number)
            try:
                read = litellm_rows.read_row(row, credentials, known)
            except Malformed:
                row.use_all()  # it is reported as skipped
                raise
        except Malformed as exc:
            skipped.append(Skipped.because(name or f"model_list[{number}]", exc))
            continue
        rows.append(read)
    return rows, skipped


def _report_lost(whole: Section, rows: list[Deployment]) -> None:
    """What a second row says of the same model of the same account: the first one's word holds."""
    first: dict[tuple[Account, str], Deployment] = {}
    for row in rows:
        same = first.setdefault((row.account, row.model_id), row)
        for lost in differences(row.facts, same.facts) if same is not row else ():
            whole.ignore(f"model_list: {lost} of {row.name}")


def _group_aliases(whole: Section, names: set[str]) -> dict[str, str]:
    """The router's `model_group_alias`: further names of names; those of none are left unread."""
    settings, key = whole.table_if_any("router_settings"), "model_group_alias"
    if not isinstance(settings.fields.get(key), dict):
        return {}
    table, aliases = settings.named(key), {}
    for name, target in table.fields.items():
        named = target.get("model") if isinstance(target, dict) else target
        if not isinstance(named, str) or named not in names:
            continue
        aliases[name] = table.text(name) if named is target else table.table(name).text("model")
    return aliases


class _Reader:
    """Makes one entry of each account; `slugs` says which."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self.slugs: dict[Account, str] = {}

    def entries(self, rows: list[Deployment]) -> tuple[list[Entry], list[Skipped]]:
        groups: dict[Account, list[Deployment]] = {}
        for row in rows:
            groups.setdefault(row.account, []).append(row)
        entries, skipped = list[Entry](), list[Skipped]()
        for account, members in groups.items():
            try:
                entry = self._entry(account, members)
            except Malformed as exc:
                skipped += [Skipped.because(each.name, exc) for each in members]
            else:
                entries.append(_numbered(entry, set(self.slugs.values())))
                self.slugs[account] = entries[-1].slug
        return entries, skipped

    def _entry(self, account: Account, rows: list[Deployment]) -> Entry:
        preset, filling = presets.get(account.preset), Filling(self._resolve)
        place = f"{rows[0].place}.litellm_params"
        filled = filling.address(from_litellm(account.address))
        url = litellm_rows.complete_address(filled, account.preset) if filled else ""
        headers = {name: from_litellm(text) for name, text in json.loads(account.headers).items()}
        name = _name(account)
        return Entry(
            slug=slugged(account.litellm_provider or (name if preset.is_custom else preset.slug)),
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


def _name(account: Account) -> str:
    if account.litellm_provider:
        return title(account.litellm_provider)
    preset = presets.get(account.preset)
    return _host(account.address) if preset.is_custom else preset.name


def _host(written: str) -> str:
    """What an address is called: its host, or the variable that holds it."""
    plain = from_litellm(written).replace("{env:", "").replace("${", "").replace("}", "")
    try:
        return urlsplit(plain).netloc or plain
    except ValueError:
        return plain


def _numbered(entry: Entry, taken: set[str]) -> Entry:
    """Several accounts at one vendor are numbered, in the order of the file."""
    slug, number = entry.slug, 1
    while slug in taken:
        number += 1
        slug = f"{entry.slug[:45]}-{number}"
    return entry if number == 1 else replace(entry, slug=slug, name=f"{entry.name} {number}")


def _models(account: Account, rows: list[Deployment]) -> tuple[ModelEntry, ...]:
    """Each model once: the facts of its first row, and what later ones add."""
    found: dict[str, ModelEntry] = {}
    for row in rows:
        if row.is_wildcard:
            for model_id in _offline(account):
                found.setdefault(model_id, ModelEntry(model_id=model_id, facts={"name": model_id}))
            continue
        facts = dict(row.facts)
        facts |= {} if facts["kind"] == "chat" else {"enabled": False}
        before = found.get(row.model_id)
        if before:
            facts |= before.facts
        found[row.model_id] = ModelEntry(model_id=row.model_id, facts=facts)
    return tuple(found.values())


def _offline(account: Account) -> list[str]:
    """All models of a vendor who has no list that we could fetch; the others' are discovered."""
    return (
        sorted(offline_catalog.priced(account.litellm_provider)) if account.litellm_provider else []
    )


def _notes(account: Account, rows: list[Deployment]) -> tuple[str, ...]:
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
            notes.append(f"{row.name} has the chat parameters of {same.name}: they are one model.")
    return tuple(dict.fromkeys(notes))


def _with_names(
    entries: list[Entry],
    rows: list[Deployment],
    slugs: Mapping[Account, str],
    group_aliases: Mapping[str, str],
) -> tuple[Entry, ...]:
    """With each name at its models, in order: the first answers, the others are its fallbacks."""
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
