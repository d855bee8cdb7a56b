"""`opencode auth login URL` with the real OpenCode, and what it reads."""

import re
import subprocess
from pathlib import Path

import httpx
from django.contrib.auth.models import User

from api.connect import device_sign_in
from api.models import ClientKey, DeviceSignIn
from providers.models import Provider
from tests import fakes
from tests.api.conftest import Door
from tests.api.connect.test_pasted import LOGIN, pasted
from tests.clients import OpenCode
from tests.polling import wait_until


def confirm_next(user: User) -> None:
    """Confirm the sign-in that is about to start, as the page does."""
    wait_until(lambda: DeviceSignIn.objects.filter(user=None).exists())
    assert device_sign_in.confirm(DeviceSignIn.objects.get(), user, "OpenCode", None)


def start_login(door: Door) -> tuple[subprocess.Popen[str], DeviceSignIn]:
    """The command of the document without a terminal, and the sign-in that it started."""
    document = httpx.get(f"{door.site.url}/.well-known/opencode").json()
    login = subprocess.Popen(
        document["auth"]["command"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: DeviceSignIn.objects.exists())
    return login, DeviceSignIn.objects.get()


def test_opencode_signs_in_with_one_command_and_answers(
    door: Door, acme: Provider, fake: fakes.Upstream, tmp_path: Path
) -> None:
    """No key is typed, and no configuration is written by hand."""
    opencode = OpenCode(tmp_path)
    command, *arguments = pasted(door)[LOGIN].split()
    assert command == "opencode"
    login = opencode.start(*arguments)
    confirm_next(door.user)
    shown, _ = login.communicate(timeout=60)
    assert login.returncode == 0, shown
    assert "ocw-" not in shown
    assert ClientKey.objects.filter(name="OpenCode", user=door.user).exists()
    lines = opencode.run("-m", "opencode-web/acme/echo", "Hello there, café")
    assert "Hello there, café" in lines


def test_the_command_shows_the_code_and_prints_the_key_alone(door: Door) -> None:
    """Without a terminal, what people read goes to standard error."""
    login, sign_in = start_login(door)
    confirm_next(door.user)
    secret, shown = login.communicate(timeout=60)
    assert re.fullmatch(r"ocw-[\w-]{43}\n?", secret)
    assert f"{door.site.url}/connect/device/?code={sign_in.code}" in shown
    assert httpx.get(f"{door.url}/models", headers={"x-api-key": secret.strip()}).is_success


def test_a_denied_sign_in_ends_with_the_reason(door: Door) -> None:
    login, sign_in = start_login(door)
    device_sign_in.deny(sign_in)
    secret, shown = login.communicate(timeout=60)
    assert (login.returncode, secret) == (1, "")
    assert "The sign-in was denied." in shown


def test_the_remote_configuration_needs_a_key(door: Door) -> None:
    """JSON with 401, never a sign-in page."""
    response = httpx.get(f"{door.url}/opencode.json")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_the_remote_configuration_lists_the_models_in_use(door: Door, acme: Provider) -> None:
    """At the address that it was fetched from."""
    with door.raw() as client:
        config = client.get("/opencode.json").json()
    provider = config["provider"]["opencode-web"]
    assert provider["options"]["baseURL"] == door.url
    assert "acme/echo" in provider["models"]
