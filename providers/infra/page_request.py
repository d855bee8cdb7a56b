"""The request that page views receive: signed in, with the details of htmx.

The middleware sets both attributes; Django's own type declares neither.
"""

from django.contrib.auth.models import User
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class PageRequest(HttpRequest):
    """A request of a signed-in user."""

    user: User
    htmx: HtmxDetails
