"""Read the environment's values from files: `NAME_FILE` names the file that holds `NAME`."""

import os
from pathlib import Path
from typing import Any

from pydantic_settings import PydanticBaseSettingsSource


class EnvironmentInvalid(Exception):
    """The environment has an invalid value; the text names the variable and the problem."""


class FileSource(PydanticBaseSettingsSource):
    """Reads `NAME` from the file that `NAME_FILE` names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """The file's text without surrounding space; None where no file is named."""
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as exc:
            name, why = field_name.upper(), getattr(exc, "strerror", None) or "it is not text"
            raise EnvironmentInvalid(
                f"{name}_FILE names {path}, which cannot be read: {why}."
                f" Example: {name}_FILE=/run/secrets/{field_name}"
            ) from exc

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}
