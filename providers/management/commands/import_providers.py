"""`manage.py import_providers FILE`: plans an import, as the page's preview does, and stores it.

Unlike the page, it resolves variables of its environment and files beside the configuration:
a user who can run it can read these anyway.
"""

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.importing import apply
from providers.importing import read as reading
from providers.importing.schema import MAX_FILE_BYTES, Malformed, Resolve


class Command(BaseCommand):
    help = "Imports providers from an opencode.json, LiteLLM's config.yaml, or an export."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--set",
            dest="values",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="value of a variable, or of a blank such as <HOST>",
        )
        parser.add_argument("--auth", type=Path, help="OpenCode's auth.json")
        parser.add_argument("--dry-run", action="store_true", help="only show the plan")
        parser.add_argument(
            "--passphrase-env",
            metavar="NAME",
            help="variable with the passphrase of an export",
        )

    def handle(self, *args: Any, file: Path, dry_run: bool, **options: Any) -> None:
        try:
            document = self._open(file, options["passphrase_env"])
            auth = read(options["auth"]) if options["auth"] else ""
            values = dict(each.partition("=")[::2] for each in options["values"])
            parsed = reading.parse_document(document, resolver(file.parent, values), auth)
        except Malformed as exc:
            raise CommandError(str(exc)) from None
        changes = apply.plan_changes(parsed) if dry_run else apply.apply_import(parsed, None)
        for each in changes:
            missing = [f"Missing: {value}." for value in each.missing]
            sentences = " ".join((*each.sentences, *missing))
            self.stdout.write(f"{each.verb:10} {each.name}: {sentences}")
        if parsed.ignored:
            self.stdout.write(f"ignored: {', '.join(map(str, parsed.ignored))}")
        self.stdout.write("Dry run: nothing was stored." if dry_run else "Import complete.")

    def _open(self, file: Path, variable: str | None) -> Any:
        source = read(file)
        passphrase = settings.PROVIDER_KEY(variable) if variable else ""
        try:
            return reading.open_document(source, passphrase)
        except Malformed as exc:
            if variable or "passphrase is needed" not in str(exc):
                raise
        return reading.open_document(source, getpass.getpass("Passphrase: "))


def read(path: Path) -> str:
    """A file's text. Raises Malformed."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Malformed(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MB.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed(f"{path} is not UTF-8 text.") from None
    except OSError as exc:
        raise Malformed(f"{path} cannot be read: {exc.strerror}.") from None


def resolver(folder: Path, values: Mapping[str, str]) -> Resolve:
    """Resolves from the given values, the environment, and files: relative to `folder` or home."""

    def resolve(kind: str, name: str) -> str | None:
        if name in values:
            return values[name]
        if kind == "blank":
            return None
        if kind == "env":
            return str(settings.PROVIDER_KEY(name)) or None
        try:
            return (folder / Path(name).expanduser()).read_text(encoding="utf-8") or None
        except (OSError, UnicodeDecodeError):
            return None

    return resolve
