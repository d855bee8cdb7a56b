"""Browsers that have signed in to an account: a signed cookie that names both.

The cookie opens nothing. It gives the browser a count of wrong passwords of its own, so that
guesses of others cannot keep its owner out (OWASP, "Slow down online guessing attacks with device
cookies").
"""

import secrets

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import salted_hmac

COOKIE = "known_browser"
_SALT = "opencode_web.known_browsers"
_LIFETIME_SECONDS = 365 * 24 * 3600


def browser_id(request: HttpRequest, account: str) -> str:
    """The id of the browser that sends this request, if it has signed in to this account before;
    else an empty text."""
    try:
        account_digest, browser = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=_LIFETIME_SECONDS
        )
    except (signing.BadSignature, ValueError):
        return ""
    return str(browser) if account_digest == _digest(account) else ""


def remember(response: HttpResponseBase, account: str) -> None:
    """Let the browser that receives this response be known for this account."""
    response.set_cookie(
        COOKIE,
        signing.dumps([_digest(account), secrets.token_hex(8)], salt=_SALT),
        max_age=_LIFETIME_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _digest(account: str) -> str:
    return salted_hmac(_SALT, account.casefold(), algorithm="sha256").hexdigest()[:16]
