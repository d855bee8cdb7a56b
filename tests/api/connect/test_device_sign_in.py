"""The device sign-in of RFC 8628: a program shows a code, a person confirms it, a key comes out."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from api.connect import device_sign_in
from api.connect.device_sign_in import LIFETIME, MAX_PER_ADDRESS, SignInRefused
from api.models import ClientKey, DeviceSignIn, hash_secret
from providers.models import AuditEvent

ADDRESS = "192.0.2.7"


def redeem_code(device_code: str) -> str:
    with pytest.raises(SignInRefused) as caught:
        device_sign_in.redeem(device_code)
    return caught.value.code


@pytest.mark.django_db
def test_a_confirmed_code_gives_one_key_once(owner: User) -> None:
    row, device_code = device_sign_in.start(ADDRESS)
    assert redeem_code(device_code) == "authorization_pending"
    assert device_sign_in.confirm(row, owner, "laptop", None)
    secret = device_sign_in.redeem(device_code)
    key = ClientKey.objects.get()
    assert (key.user, key.name, key.hash) == (owner, "laptop", hash_secret(secret))
    assert redeem_code(device_code) == "expired_token"
    assert AuditEvent.objects.filter(verb="created", user=owner).exists()


@pytest.mark.django_db
def test_no_secret_is_stored_before_the_program_fetches_it(owner: User) -> None:
    row, device_code = device_sign_in.start(ADDRESS)
    device_sign_in.confirm(row, owner, "laptop", None)
    assert not ClientKey.objects.exists()
    assert device_code not in str(DeviceSignIn.objects.values_list())


@pytest.mark.django_db
def test_a_code_expires(owner: User) -> None:
    """Confirmed or not, and the next sign-in deletes its row."""
    now = timezone.now()
    row, device_code = device_sign_in.start(ADDRESS, now - LIFETIME)
    assert device_sign_in.find_waiting(row.code, now) is None
    device_sign_in.confirm(row, owner, "laptop", None)
    assert redeem_code(device_code) == "expired_token"
    device_sign_in.start(ADDRESS, now)
    assert DeviceSignIn.objects.count() == 1


@pytest.mark.django_db
def test_who_decides_first_decides(owner: User) -> None:
    row, device_code = device_sign_in.start(ADDRESS)
    device_sign_in.deny(row)
    assert not device_sign_in.confirm(row, owner, "laptop", None)
    assert redeem_code(device_code) == "access_denied"


@pytest.mark.django_db
def test_a_deactivated_person_gives_no_key(owner: User) -> None:
    row, device_code = device_sign_in.start(ADDRESS)
    device_sign_in.confirm(row, owner, "laptop", None)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert redeem_code(device_code) == "access_denied"


@pytest.mark.django_db
def test_an_address_gets_a_bounded_number_of_codes() -> None:
    """Until the first of them has expired; others are not concerned."""
    now = timezone.now()
    for _ in range(MAX_PER_ADDRESS):
        device_sign_in.start(ADDRESS, now)
    with pytest.raises(SignInRefused):
        device_sign_in.start(ADDRESS, now)
    device_sign_in.start("192.0.2.8", now)
    device_sign_in.start(ADDRESS, now + LIFETIME + timedelta(seconds=1))


@pytest.mark.django_db
@pytest.mark.parametrize("change", [str.lower, lambda code: code.replace("-", " "), str.upper])
def test_a_code_is_found_however_it_is_typed(change: "type[str]") -> None:
    row, _ = device_sign_in.start(ADDRESS)
    assert device_sign_in.find_waiting(change(row.code)) == row


def test_a_program_gets_json_without_a_session(client: Client, db: None) -> None:
    """Start and token answer anybody, in the fields of RFC 8628."""
    started = client.post(reverse("api:device-code")).json()
    assert started["verification_uri_complete"].endswith(
        f"/connect/device/?code={started['user_code']}"
    )
    assert (started["expires_in"], started["interval"]) == (600, 3)
    response = client.post(reverse("api:device-token"), {"device_code": started["device_code"]})
    assert response.status_code == 400
    assert response.json()["error"] == "authorization_pending"
    assert client.post(reverse("api:device-token")).json()["error"] == "expired_token"


def test_the_page_needs_a_signed_in_person(client: Client, db: None) -> None:
    """And leads back to the code after the sign-in."""
    response = client.get(reverse("api:device"), {"code": "WDJB-MJHT"})
    assert response.status_code == 302
    assert "code%3DWDJB-MJHT" in response.headers["Location"]


def test_an_unknown_code_is_an_error_beside_the_field(owner_client: Client) -> None:
    """What was typed stays."""
    response = owner_client.get(reverse("api:device"), {"code": "WDJB-MJHT"})
    assert response.status_code == 422
    html = response.content.decode()
    assert "No program waits for this code." in html
    assert 'value="WDJB-MJHT"' in html


def test_a_person_confirms_or_denies(owner_client: Client) -> None:
    """The link alone changes nothing: it shows where the program is, and asks."""
    for answer, error in (({"name": "laptop", "days": "30"}, ""), ({"deny": "1"}, "access_denied")):
        row, device_code = device_sign_in.start(ADDRESS)
        page = owner_client.get(reverse("api:device"), {"code": row.code}).content.decode()
        assert ADDRESS in page
        assert redeem_code(device_code) == "authorization_pending"
        response = owner_client.post(reverse("api:device"), {"code": row.code} | answer)
        assert response.status_code == 302
        if error:
            assert redeem_code(device_code) == error
        else:
            assert device_sign_in.redeem(device_code)
    assert ClientKey.objects.get().expires_at is not None


def test_a_key_without_a_name_is_not_confirmed(owner_client: Client) -> None:
    row, device_code = device_sign_in.start(ADDRESS)
    fields = {"code": row.code, "name": " ", "days": "0"}
    response = owner_client.post(reverse("api:device"), fields)
    assert response.status_code == 422
    assert "Enter a name." in response.content.decode()
    assert redeem_code(device_code) == "authorization_pending"
