"""Reads OpenCode's `opencode.json` and `auth.json` into entries. No I/O.

A provider that cannot be imported is skipped with the reason; the others are not affected.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.importing.fields import Section, differences
from providers.importing.opencode_models import Listed, read_models
from providers.importing.placeholders import Filling
from providers.importing.schema import (
    MAX_MODELS,
    Malformed,
    ModelEntry,
    Parsed,
    ProviderEntry,
    Resolve,
    Skipped,
    Unsupported,
    address,
    expect,
    slugify_name,
)
from providers.vendors import presets
from providers.vendors.presets import Preset

SOURCE = "opencode.json"
# OpenCode's packages by the format they speak; all but Anthropic's also speak OpenAI's chat.
FORMATS: Mapping[str, str] = {
    "@ai-sdk/anthropic": "anthropic",
    **dict.fromkeys(
        (
            *("@ai-sdk/openai-compatible", "@ai-sdk/openai", "@ai-sdk/groq", "@ai-sdk/mistral"),
            *("@ai-sdk/xai", "@ai-sdk/togetherai", "@ai-sdk/deepinfra", "@ai-sdk/cerebras"),
            *("@ai-sdk/fireworks", "@ai-sdk/deepseek", "@openrouter/ai-sdk-provider"),
        ),
        "openai",
    ),
}
_OTHER_LOGINS = {
    "oauth": "it signs in by OAuth, which only OpenCode can use",
    "wellknown": "its token comes from another server's configuration",
}


def parse(document: Any, resolve: Resolve, auth: Any = None) -> Parsed:
    """Reads both files. Raises Malformed if the list of providers is malformed."""
    root = Section.of_document(document)
    root.take("$schema")
    logins = Section.of_document(auth if auth is not None else {})
    listed = root.named_members("provider")
    enabled, disabled = root.names("enabled_providers"), root.names("disabled_providers") or []
    keys, skipped = _keys(logins)
    entries: list[ProviderEntry] = []
    for name in (*listed.fields, *(each for each in keys if each not in listed.fields)):
        in_use = name not in disabled and (enabled is None or name in enabled)
        try:
            section = listed.table(name) if name in listed.fields else Section.of_document({})
            entries += _Provider(
                name, section, keys.get(name, ""), resolve, in_use=in_use
            ).entries()
        except Malformed as exc:
            listed.take(name)  # it is reported as skipped
            skipped.append(Skipped.because(name, exc))
    ignored = (*root.usage.list_unused(document), *logins.usage.list_unused(auth or {}))
    return Parsed(SOURCE, tuple(entries), tuple(skipped), ignored)


def _keys(logins: Section) -> tuple[dict[str, str], list[Skipped]]:
    keys: dict[str, str] = {}
    skipped: list[Skipped] = []
    for name, raw in logins.fields.items():
        logins.take(name)  # the rest of a login is OpenCode's own
        login = expect(raw, dict, f"auth.json: {name}")
        if login.get("type") == "api":
            keys[name] = expect(login.get("key") or "", str, f"auth.json: {name}")
        else:
            why = _OTHER_LOGINS.get(str(login.get("type")), "its type of login is unknown")
            skipped.append(Skipped(f"auth.json: {name}", f"No key was imported: {why}."))
    return keys, skipped


def find_preset(name: str) -> Preset | None:
    """The preset of a vendor by OpenCode's name, which the offline catalogue shares."""
    for preset in presets.PRESETS:
        if preset.catalogue == name:
            return preset
    return presets.get(name) if presets.is_known(name) and not presets.get(name).is_custom else None


class _Provider:
    """One provider of the file: an entry, and another for each base URL that a model sets."""

    def __init__(
        self, name: str, section: Section, key: str, resolve: Resolve, *, in_use: bool
    ) -> None:
        self._name, self._section, self._in_use = name, section, in_use
        self._login, self._resolve = key, resolve
        self._options = section.table("options")
        self._preset = find_preset(name)

    def entries(self) -> list[ProviderEntry]:
        package, listed = self._section.text("npm"), read_models(self._section)
        if len(listed) > MAX_MODELS:
            raise Malformed(f"{self._section.where('models')}: more than {MAX_MODELS} models.")
        preset_url = self._preset.base_url if self._preset else ""
        own = self._options.text("baseURL"), self._section.text("api")
        url = own[0] or own[1] or preset_url
        groups: dict[tuple[str, str], list[Listed]] = {(package, url): []}
        for model in listed:
            groups.setdefault((model.package or package, model.address or url), []).append(model)
        first = self._entry(package, url, _entries(groups.pop((package, url)), self._name))
        others = [
            self._entry(*each, _entries(models, self._name, is_elsewhere=True))
            for each, models in groups.items()
        ]
        noted = replace(first, notes=(*first.notes, *_describe_shared(self._section, listed)))
        return [noted, *(_with_number(each, n) for n, each in enumerate(others, start=2))]

    def _entry(self, package: str, url: str, models: tuple[ModelEntry, ...]) -> ProviderEntry:
        preset, filling = self._preset, Filling(self._resolve)
        kind = FORMATS.get(package) if package else (preset.kind.value if preset else "openai")
        if kind is None:
            raise Unsupported(f"The format of {package} is not supported.")
        if not url:
            raise Unsupported("It has no base URL (options.baseURL), and its vendor is unknown.")
        filled, place = filling.address(url), self._options.where("baseURL")
        return ProviderEntry(
            slug=slugify_name(self._name),
            name=(self._section.text("name") or (preset.name if preset else self._name))[:100],
            kind=kind,
            base_url=address(filled, place) if filled else "",
            preset=preset.slug if preset else "custom",
            api_key=self._key(filling),
            headers=filling.headers(self._headers(), self._options.where("headers")),
            settings={} if self._in_use else {"enabled": False},  # what was paused here stays so
            models=models,
            missing=tuple(filling.missing),
            notes=self._notes(),
        )

    def _headers(self) -> dict[str, Any]:
        headers = self._options.take("headers")
        return {} if headers is None else expect(headers, dict, self._options.where("headers"))

    def _key(self, fill: Filling) -> str | None:
        """From the configuration, auth.json, or the first variable of `env`, in this order."""
        variables = self._section.names("env") or []
        place = self._options.where("apiKey")
        if written := self._options.text("apiKey"):
            return fill.key(written, "key", place)
        if self._login:
            return fill.key(self._login, "key", f"auth.json: {self._name}")
        return fill.key(f"{{env:{variables[0]}}}", "key", place) if variables else None

    def _notes(self) -> tuple[str, ...]:
        paused = "Disabled in the file, so it is imported as paused."
        allowed = "Its whitelist applies to the models in the file; those found later are in use."
        listed = self._section.names("whitelist") is not None
        return (*(() if self._in_use else (paused,)), *((allowed,) if listed else ()))


def _entries(
    models: list[Listed], provider: str, *, is_elsewhere: bool = False
) -> tuple[ModelEntry, ...]:
    """Each model once. OpenCode's name for it becomes an alias if it differs from the id."""
    by_id: dict[str, ModelEntry] = {}
    for model in models:
        is_reachable = model.name == model.model_id and not is_elsewhere
        names = {} if is_reachable else {f"{provider}/{model.name}": 0}
        before = by_id.get(model.model_id)
        facts = dict(model.facts) | (dict(before.facts) if before else {})
        if before and (before.facts["enabled"] or model.facts["enabled"]):
            facts["enabled"] = True
        by_id[model.model_id] = ModelEntry(
            model_id=model.model_id,
            facts=facts,
            names={**(before.names if before else {}), **names},
        )
    return tuple(by_id.values())


def _describe_shared(provider: Section, models: list[Listed]) -> list[str]:
    """Record two names of one model, and report values of the second that differ."""
    first: dict[str, Listed] = {}
    notes = []
    for model in models:
        same = first.setdefault(model.model_id, model)
        if same is not model:
            notes.append(f"{model.name} and {same.name} are two names of one model.")
            for lost in differences(model.facts, same.facts):
                provider.ignore(f"provider.models.{model.name}.{lost}")
    return notes


def _with_number(entry: ProviderEntry, number: int) -> ProviderEntry:
    return replace(entry, slug=f"{entry.slug[:45]}-{number}", name=f"{entry.name} {number}")
