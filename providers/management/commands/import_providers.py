"""`manage.py import_providers FILE`: the same plan as the page's preview, then the doing.

Alone of all doors this one looks up what a file names: variables of its own environment and files
beside the configuration. Whoever can run it can read these anyway.
"""

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.importing import apply
from providers.importing import read as reading
from providers.importing.schema import LARGEST, Malformed, Resolve


class Command(BaseCommand):
    help = "Imports providers from opencode.json, LiteLLM's config.yaml, or export_providers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--set",
            dest="values",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="the value of a variable, or of a blank such as <HOST>",
        )
        parser.add_argument("--auth", type=Path, help="OpenCode's auth.json")
        parser.add_argument("--dry-run", action="store_true", help="show the plan, store nothing")
        parser.add_argument(
            "--passphrase-env", metavar="NAME", help="the variable with the passphrase of an export"
        )

    def handle(self, *args: Any, file: Path, dry_run: bool, **options: Any) -> None:
        try:
            document = self._opened(file, options["passphrase_env"])
            auth = read(options["auth"]) if options["auth"] else ""
            values = dict(each.partition("=")[::2] for each in options["values"])
            parsed = reading.parsed(document, resolver(file.parent, values), auth)
        except Malformed as exc:
            raise CommandError(str(exc)) from None
        changes = apply.plan_changes(parsed) if dry_run else apply.apply_import(parsed, None)
        for each in changes:
            missing = [f"Missing: {value}." for value in each.missing]
            sentences = " ".join((*each.sentences, *missing))
            self.stdout.write(f"{each.verb:10} {each.name}: {sentences}")
        if parsed.ignored:
            self.stdout.write(f"ignored: {', '.join(map(str, parsed.ignored))}")
        self.stdout.write("Nothing was stored." if dry_run else "Done.")

    def _opened(self, file: Path, variable: str | None) -> Any:
        source = read(file)
        passphrase = settings.PROVIDER_KEY(variable) if variable else ""
        try:
            return reading.opened(source, passphrase)
        except Malformed as exc:
            if variable or "passphrase is needed" not in str(exc):
                raise
        return reading.opened(source, getpass.getpass("Passphrase: "))


def read(path: Path) -> str:
    """A file's text. Raises Malformed."""
    try:
        if path.stat().st_size > LARGEST:
            raise Malformed(f"{path} is larger than {LARGEST // 2**20} MB.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed(f"{path} is no text in UTF-8.") from None
    except OSError as exc:
        raise Malformed(f"{path} cannot be read: {exc.strerror}.") from None


def resolver(folder: Path, values: Mapping[str, str]) -> Resolve:
    """Looks among what was given, in the environment, and for files as OpenCode does: beside the
    file, or from home."""

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
