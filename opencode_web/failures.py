"""The page for an unhandled error: the unavailable part, if one is, or else an apology.

It uses no database, session or context processor, because these may be the cause.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from health import liveness


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 with the reason while the database is unavailable (the page checks it again by
    itself), otherwise 500."""
    problem = liveness.database_problem()
    if problem:
        response = render(None, "503.html", {"problem": problem}, status=503)
        response["Retry-After"] = "5"
        return response
    return render(None, "500.html", status=500)
