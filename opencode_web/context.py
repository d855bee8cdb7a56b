"""What every page's template may read: the version, and the parts that are degraded right now."""

from typing import Any

from django.http import HttpRequest

from health import liveness
from opencode_web import __version__


class Site:
    """Evaluated only by the templates that show it, so that a partial pays nothing."""

    version = __version__

    @property
    def degraded(self) -> list[str]:
        return liveness.find_problems()


def site(request: HttpRequest) -> dict[str, Any]:
    return {"site": Site()}
