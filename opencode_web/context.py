"""What every page's template may read: the parts of the site that are degraded right now."""

from typing import Any

from django.http import HttpRequest

from health import liveness


class Site:
    """Asked only by the templates that show it, so that a partial pays nothing."""

    @property
    def degraded(self) -> list[str]:
        return liveness.degraded()


def site(request: HttpRequest) -> dict[str, Any]:
    return {"site": Site()}
