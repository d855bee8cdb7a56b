"""The pages and endpoints of the device sign-in: RFC 8628, sections 3.1 to 3.5."""

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from api.connect import device_sign_in, well_known
from api.connect.device_sign_in import SignInRefused
from api.connect.forms import DeviceCodeForm, NewKeyForm
from api.models import DeviceSignIn
from providers.infra.page_request import PageRequest
from providers.protocols.openai_chat import encode_json


@login_not_required
@require_safe
def describe(request: HttpRequest) -> HttpResponse:
    """`/.well-known/opencode`. Public, because it is read before there is a key."""
    origin = request.build_absolute_uri("/").rstrip("/")
    return HttpResponse(well_known.describe(origin), content_type="application/json")


@csrf_exempt  # called by programs, which send no cookie
@login_not_required
@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """A new code, for a program to show."""
    address = get_adapter(request).get_client_ip(request)
    try:
        row, device_code = device_sign_in.start(address)
    except SignInRefused as refused:
        return _refuse(refused, status=429)
    page = request.build_absolute_uri(reverse("api:device"))
    return _json(
        {
            "device_code": device_code,
            "user_code": row.code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?code={row.code}",
            "expires_in": int(device_sign_in.LIFETIME.total_seconds()),
            "interval": device_sign_in.POLL_SECONDS,
        }
    )


@csrf_exempt
@login_not_required
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """The new key, once it was confirmed."""
    try:
        secret = device_sign_in.redeem(request.POST.get("device_code", ""))
    except SignInRefused as refused:
        return _refuse(refused, status=400)
    return _json({"access_token": secret, "token_type": "Bearer"})


@require_http_methods(["GET", "POST"])
def confirm(request: PageRequest) -> HttpResponse:
    """Type the code, compare the program, then confirm or deny it."""
    typed = request.POST.get("code") or request.GET.get("code", "")
    sign_in = device_sign_in.find_waiting(typed) if typed else None
    if sign_in is None:
        return _ask_code(request, typed)
    if request.method == "POST":
        return _decide(request, sign_in)
    return _ask(request, sign_in, NewKeyForm(initial={"name": f"OpenCode on {sign_in.address}"}))


def _ask_code(request: PageRequest, typed: str) -> HttpResponse:
    """The field for the code; with an error where something was typed."""
    form = DeviceCodeForm({"code": typed}) if typed else DeviceCodeForm()
    if typed:
        form.add_error("code", "No program waits for this code. Codes expire after 10 minutes.")
    return render(request, "api/device_code.html", {"form": form}, status=422 if typed else 200)


def _decide(request: PageRequest, sign_in: DeviceSignIn) -> HttpResponse:
    if "deny" in request.POST:
        device_sign_in.deny(sign_in)
        messages.success(request, "Denied. The program gets no key.")
        return redirect("api:connect")
    form = NewKeyForm(request.POST)
    if not form.is_valid():
        return _ask(request, sign_in, form, status=422)
    if device_sign_in.confirm(sign_in, request.user, form.cleaned_data["name"], form.expires_at):
        messages.success(request, "Confirmed. The program signs in within a few seconds.")
    return redirect("api:connect")


def _ask(
    request: PageRequest, sign_in: DeviceSignIn, form: NewKeyForm, status: int = 200
) -> HttpResponse:
    shown = {"sign_in": sign_in, "form": form}
    return render(request, "api/device_confirm.html", shown, status=status)


def _refuse(refused: SignInRefused, status: int) -> HttpResponse:
    return _json({"error": refused.code, "error_description": refused.message}, status)


def _json(fields: dict[str, object], status: int = 200) -> HttpResponse:
    """Without spaces, because the login script reads it with sed."""
    return HttpResponse(encode_json(fields), content_type="application/json", status=status)
