"""`manage.py export_providers`: all providers as JSON, without secrets or encrypted."""

import getpass
import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.importing import exporting, native_format
from providers.importing.stored import load_entries
from providers.operations import audit


class Command(BaseCommand):
    help = "Writes all providers to standard output, for import_providers or for OpenCode."

    def add_arguments(self, parser: CommandParser) -> None:
        way = parser.add_mutually_exclusive_group()
        way.add_argument("--opencode", action="store_true", help="write an opencode.json")
        way.add_argument("--sealed", action="store_true", help="include secrets, encrypted")
        parser.add_argument("--passphrase-env", metavar="NAME", help="variable with the passphrase")

    def handle(self, *args: Any, opencode: bool, sealed: bool, **options: Any) -> None:
        entries = load_entries()
        written = (
            exporting.write_opencode(entries)
            if opencode
            else native_format.document(entries, secrets=sealed)
        )
        if sealed:
            written = native_format.seal(written, self._passphrase(options["passphrase_env"]))
        audit.note(None, "exported", "all providers (command)", kind="provider")
        self.stdout.write(json.dumps(written, indent=2))

    def _passphrase(self, variable: str | None) -> str:
        typed = settings.PROVIDER_KEY(variable) if variable else getpass.getpass("Passphrase: ")
        if len(typed) < 12:
            raise CommandError("The passphrase must have at least 12 characters.")
        return str(typed)
