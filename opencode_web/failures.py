"""The page for an error nobody handled: what is down, if something is, else an apology.

It uses no database, session or context processor: those may be what failed.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from health import liveness


def server_error(request: HttpRequest) -> HttpResponse:
    """503 with the reason while the database is away (the page asks again by itself), else 500."""
    problem = liveness.database_problem()
    if problem:
        response = render(None, "503.html", {"problem": problem}, status=503)
        response["Retry-After"] = "5"
        return response
    return render(None, "500.html", status=500)
