"""The project as an application: its commands and the first-run page."""

from django.apps import AppConfig


class OpenCodeWebConfig(AppConfig):
    name = "opencode_web"
    verbose_name = "OpenCode Web"
