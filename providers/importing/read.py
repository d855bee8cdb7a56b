"""From the text of a file to what it says, whichever program wrote it. No I/O.

What a file is, is told by what is in it and not by its name.
"""

from typing import Any

from providers.importing import jsonc, litellm_config, native_format, opencode, yaml_loader
from providers.importing.schema import LARGEST, MOST_PROVIDERS, Malformed, Parsed, Resolve


def opened(source: str, passphrase: str = "") -> Any:
    """The document in a file, unsealed. Raises Malformed."""
    if len(source.encode()) > LARGEST:
        raise Malformed(f"The file is larger than {LARGEST // 2**20} MB.")
    if not source.strip():
        raise Malformed("There is nothing in the file.")
    if "\0" in source or "\\u0000" in source:
        raise Malformed("There is a NUL character in the file.")
    is_json = source.lstrip("\ufeff \t\r\n").startswith(("{", "/", "["))
    document = jsonc.loads(source) if is_json else yaml_loader.load(source)
    if isinstance(document, dict) and document.get("format") == native_format.SEALED:
        return native_format.unseal(document, passphrase)
    return document


def parsed(document: Any, resolve: Resolve, auth: str = "") -> Parsed:
    """What it says. Raises Malformed."""
    if not isinstance(document, dict):
        raise Malformed("This is no configuration: an object with names in it is expected.")
    found = _parsed(document, resolve, auth)
    if len(found.entries) > MOST_PROVIDERS:
        raise Malformed(f"More than {MOST_PROVIDERS} providers are in it.")
    malformed = [each.reason for each in found.skipped if each.is_malformed]
    if malformed and not found.entries:
        raise Malformed(malformed[0])
    if not found.entries and not found.skipped:
        raise Malformed("There are no providers in it.")
    return found


def _parsed(document: dict[str, Any], resolve: Resolve, auth: str) -> Parsed:
    if document.get("format") == native_format.FORMAT:
        return native_format.parse(document, resolve)
    if "model_list" in document:
        return litellm_config.parse(document, resolve)
    if "provider" in document or auth.strip():
        logins = jsonc.loads(auth, "auth.json") if auth.strip() else None
        return opencode.parse(document, resolve, logins)
    raise Malformed(
        "Neither an opencode.json (it has `provider`), nor LiteLLM's config.yaml (`model_list`),"
        " nor an export of this program (`format`)."
    )
