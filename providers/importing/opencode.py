"""OpenCode's `opencode.json` and `auth.json` as entries. No I/O.

A provider that cannot be taken is skipped with the reason, and refuses no other one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.importing.fields import Section, differences
from providers.importing.opencode_models import Listed, read_models
from providers.importing.placeholders import Filling
from providers.importing.schema import (
    MOST_MODELS,
    Entry,
    Malformed,
    ModelEntry,
    Parsed,
    Resolve,
    Skipped,
    Unsupported,
    address,
    expect,
    slugged,
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
    "oauth": "it signs in by OAuth, which belongs to OpenCode alone",
    "wellknown": "its token belongs to another server's own configuration",
}


def parse(document: Any, resolve: Resolve, auth: Any = None) -> Parsed:
    """Both files. Raises Malformed where what should name providers does not."""
    whole = Section.whole(document)
    whole.take("$schema")
    logins = Section.whole(auth if auth is not None else {})
    listed = whole.named("provider")
    enabled, disabled = whole.names("enabled_providers"), whole.names("disabled_providers") or []
    keys, skipped = _keys(logins)
    entries: list[Entry] = []
    for name in (*listed.fields, *(each for each in keys if each not in listed.fields)):
        in_use = name not in disabled and (enabled is None or name in enabled)
        try:
            said = listed.table(name) if name in listed.fields else Section.whole({})
            entries += _Provider(name, said, keys.get(name, ""), resolve, in_use=in_use).entries()
        except Malformed as exc:
            listed.take(name)  # it is reported as skipped
            skipped.append(Skipped.because(name, exc))
    ignored = (*whole.account.unused(document), *logins.account.unused(auth or {}))
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
            why = _OTHER_LOGINS.get(str(login.get("type")), "its type of login is not known here")
            skipped.append(Skipped(f"auth.json: {name}", f"No key is taken: {why}."))
    return keys, skipped


def known(name: str) -> Preset | None:
    """The preset of what OpenCode, like the offline catalogue, calls a vendor."""
    for preset in presets.PRESETS:
        if preset.catalogue == name:
            return preset
    return presets.get(name) if presets.known(name) and not presets.get(name).is_custom else None


class _Provider:
    """One provider of the file: an entry, and one more for each address that its models have of
    their own."""

    def __init__(
        self, name: str, said: Section, key: str, resolve: Resolve, *, in_use: bool
    ) -> None:
        self._name, self._said, self._in_use = name, said, in_use
        self._login, self._resolve = key, resolve
        self._options = said.table("options")
        self._preset = known(name)

    def entries(self) -> list[Entry]:
        package, listed = self._said.text("npm"), read_models(self._said)
        if len(listed) > MOST_MODELS:
            raise Malformed(f"{self._said.where('models')}: more than {MOST_MODELS} models.")
        preset_url = self._preset.base_url if self._preset else ""
        own = self._options.text("baseURL"), self._said.text("api")
        url = own[0] or own[1] or preset_url
        groups: dict[tuple[str, str], list[Listed]] = {(package, url): []}
        for model in listed:
            groups.setdefault((model.package or package, model.address or url), []).append(model)
        first = self._entry(package, url, _entries(groups.pop((package, url)), self._name))
        others = [
            self._entry(*each, _entries(models, self._name, is_elsewhere=True))
            for each, models in groups.items()
        ]
        noted = replace(first, notes=(*first.notes, *_shared(self._said, listed)))
        return [noted, *(_numbered(each, n) for n, each in enumerate(others, start=2))]

    def _entry(self, package: str, url: str, models: tuple[ModelEntry, ...]) -> Entry:
        preset, filling = self._preset, Filling(self._resolve)
        kind = FORMATS.get(package) if package else (preset.kind.value if preset else "openai")
        if kind is None:
            raise Unsupported(f"{package} speaks a format that is not spoken here.")
        if not url:
            raise Unsupported("It has no address (options.baseURL), and is no vendor known here.")
        filled, place = filling.address(url), self._options.where("baseURL")
        return Entry(
            slug=slugged(self._name),
            name=(self._said.text("name") or (preset.name if preset else self._name))[:100],
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
        found = self._options.take("headers")
        return {} if found is None else expect(found, dict, self._options.where("headers"))

    def _key(self, fill: Filling) -> str | None:
        """From the configuration, else from auth.json, else from the first variable it names."""
        variables = self._said.names("env") or []
        place = self._options.where("apiKey")
        if written := self._options.text("apiKey"):
            return fill.key(written, "key", place)
        if self._login:
            return fill.key(self._login, "key", f"auth.json: {self._name}")
        return fill.key(f"{{env:{variables[0]}}}", "key", place) if variables else None

    def _notes(self) -> tuple[str, ...]:
        paused = "It is switched off in the file, so it is paused here."
        allowed = "Its whitelist holds for the models named here: others found later are in use."
        listed = self._said.names("whitelist") is not None
        return (*(() if self._in_use else (paused,)), *((allowed,) if listed else ()))


def _entries(
    models: list[Listed], provider: str, *, is_elsewhere: bool = False
) -> tuple[ModelEntry, ...]:
    """Each model once. A name of OpenCode that would not lead to it here becomes an alias."""
    found: dict[str, ModelEntry] = {}
    for model in models:
        is_found = model.name == model.model_id and not is_elsewhere
        names = {} if is_found else {f"{provider}/{model.name}": 0}
        before = found.get(model.model_id)
        facts = dict(model.facts) | (dict(before.facts) if before else {})
        if before and (before.facts["enabled"] or model.facts["enabled"]):
            facts["enabled"] = True
        found[model.model_id] = ModelEntry(
            model_id=model.model_id,
            facts=facts,
            names={**(before.names if before else {}), **names},
        )
    return tuple(found.values())


def _shared(provider: Section, models: list[Listed]) -> list[str]:
    """What is said of two names of one model, and what the second one loses by it."""
    first: dict[str, Listed] = {}
    notes = []
    for model in models:
        same = first.setdefault(model.model_id, model)
        if same is not model:
            notes.append(f"{model.name} and {same.name} are two names of one model.")
            for lost in differences(model.facts, same.facts):
                provider.ignore(f"provider.models.{model.name}.{lost}")
    return notes


def _numbered(entry: Entry, number: int) -> Entry:
    return replace(entry, slug=f"{entry.slug[:45]}-{number}", name=f"{entry.name} {number}")
