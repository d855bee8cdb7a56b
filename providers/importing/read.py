"""Parses a configuration file of any supported program. No I/O.

The format is recognized by the contents, not by the file's name.
"""

from typing import Any

from providers.importing import jsonc, litellm_config, native_format, opencode, yaml_loader
from providers.importing.schema import MAX_FILE_BYTES, MAX_PROVIDERS, Malformed, Parsed, Resolve


def open_document(source: str, passphrase: str = "") -> Any:
    """Decodes JSON or YAML, and decrypts a sealed export. Raises Malformed."""
    if len(source.encode()) > MAX_FILE_BYTES:
        raise Malformed(f"The file is larger than {MAX_FILE_BYTES // 2**20} MB.")
    if not source.strip():
        raise Malformed("The file is empty.")
    if "\0" in source or "\\u0000" in source:
        raise Malformed("The file contains a NUL character.")
    is_json = source.lstrip("\ufeff \t\r\n").startswith(("{", "/", "["))
    document = jsonc.loads(source) if is_json else yaml_loader.load(source)
    if isinstance(document, dict) and document.get("format") == native_format.SEALED:
        return native_format.unseal(document, passphrase)
    return document


def parse_document(document: Any, resolve: Resolve, auth: str = "") -> Parsed:
    """Reads a decoded document into entries. Raises Malformed."""
    if not isinstance(document, dict):
        raise Malformed("This is not a configuration: an object is expected.")
    parsed_file = _parse_format(document, resolve, auth)
    if len(parsed_file.entries) > MAX_PROVIDERS:
        raise Malformed(f"The file has more than {MAX_PROVIDERS} providers.")
    malformed = [each.reason for each in parsed_file.skipped if each.is_malformed]
    if malformed and not parsed_file.entries:
        raise Malformed(malformed[0])
    if not parsed_file.entries and not parsed_file.skipped:
        raise Malformed("The file has no providers.")
    return parsed_file


def _parse_format(document: dict[str, Any], resolve: Resolve, auth: str) -> Parsed:
    if document.get("format") == native_format.FORMAT:
        return native_format.parse(document, resolve)
    if "model_list" in document:
        return litellm_config.parse(document, resolve)
    if "provider" in document or auth.strip():
        logins = jsonc.loads(auth, "auth.json") if auth.strip() else None
        return opencode.parse(document, resolve, logins)
    raise Malformed(
        "Unknown format: use an opencode.json (with `provider`), LiteLLM's config.yaml (with"
        " `model_list`), or an export of this program (with `format`)."
    )
