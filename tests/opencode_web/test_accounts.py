"""Sign-in: what is refused and for how long, what is noted, and what older homes still need."""

import re
from collections.abc import Iterator
from importlib import import_module
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.core import signing
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from opencode_web import accounts, known_browsers, throttle
from opencode_web.throttle import PER_ACCOUNT, PER_ACCOUNT_AND_ADDRESS, PER_ADDRESS, PER_BROWSER
from providers.infra import passwords
from providers.models import AuditEvent, Provider
from tests.opencode_web import test_throttle

PAGE = "/sign-in/"
RIGHT = "a-long-pass-phrase"
WRONG = "hunter2-hunter2"
pytestmark = pytest.mark.django_db
SECRET_KEY_OF_A_PROVIDER = "sk-secret-0123456789wxyz"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    test_throttle.forget()
    yield
    test_throttle.forget()


def events() -> list[tuple[str, str, str]]:
    rows = AuditEvent.objects.order_by("pk")
    return [(row.username, row.verb, row.subject) for row in rows]


def sign_in(client: Client, password: str, name: str = "alice", **more: str) -> int:
    return client.post(PAGE, {"username": name, "password": password, **more}).status_code


def test_a_right_password_leads_to_the_page_that_was_wanted(owner: User) -> None:
    client = Client()
    wanted = client.get("/providers/?q=a")["Location"]
    hidden = parse_qs(urlsplit(wanted).query)["next"][0]
    assert f'value="{hidden}"' in client.get(wanted).content.decode()
    fields = {"username": "alice", "password": RIGHT, "next": hidden}
    assert client.post(PAGE, fields)["Location"] == "/providers/?q=a"
    assert client.get("/providers/").status_code == 200
    assert client.get(PAGE)["Location"] == "/chat/"
    assert events() == [("alice", "signed in", "alice")]


def test_a_redirect_never_leads_to_another_site(owner: User) -> None:
    fields = {"username": "alice", "password": RIGHT, "next": "https://evil.example/"}
    assert Client().post(PAGE, fields)["Location"] == "/chat/"


def test_sixty_wrong_passwords_are_refused_after_a_few(owner: User) -> None:
    """Each answer says how long to wait, and the right password waits as well."""
    client = Client()
    answers = [client.post(PAGE, {"username": "alice", "password": WRONG}) for _ in range(60)]
    assert [each.status_code for each in answers] == [422] * PER_ACCOUNT_AND_ADDRESS + [429] * 55
    last = answers[-1]
    assert 0 < int(last["Retry-After"]) <= throttle.WINDOW_SECONDS
    html = last.content.decode()
    assert re.search(r'Wait <span class="num" role="timer" data-countdown="\d+">\d+ (s|min)', html)
    assert 'value="alice"' in html
    assert WRONG not in html
    assert sign_in(client, RIGHT) == 429
    assert client.get(PAGE).status_code == 200
    # One event each while passwords are checked, and one that they no longer are.
    failed = [("", "failed to sign in", "alice")] * PER_ACCOUNT_AND_ADDRESS
    assert events() == [*failed, ("", "refused to sign in", "alice")]


def test_guesses_of_others_do_not_keep_a_known_browser_out(owner: User) -> None:
    """The account is locked for browsers that never signed in to it, wherever they are."""
    laptop = Client(REMOTE_ADDR="203.0.113.7")
    assert sign_in(laptop, RIGHT) == 302
    laptop.post("/sign-out/")
    for number in range(PER_ACCOUNT):
        assert sign_in(Client(REMOTE_ADDR=f"192.0.2.{number}"), WRONG) == 422
    assert sign_in(Client(REMOTE_ADDR="192.0.2.99"), RIGHT) == 429
    assert sign_in(laptop, RIGHT) == 302
    laptop.post("/sign-out/")
    found = [sign_in(laptop, WRONG) for _ in range(PER_BROWSER + 1)]
    assert found == [422] * PER_BROWSER + [429]


@pytest.mark.parametrize("cookie", ["", "forged", signing.dumps(["a", "b"]), signing.dumps(1)])
def test_a_browser_is_known_by_a_signed_cookie_alone(cookie: str, owner: User) -> None:
    client = Client()
    client.cookies[known_browsers.COOKIE] = cookie
    found = [sign_in(client, WRONG) for _ in range(PER_ACCOUNT_AND_ADDRESS + 1)]
    assert found[-1] == 429
    assert sign_in(Client(), RIGHT) == 429


def test_a_browser_is_known_for_the_account_it_signed_in_to(owner: User, stranger: User) -> None:
    """It is httponly, and says nothing in clear."""
    client = Client()
    assert sign_in(client, RIGHT, "charlie") == 302
    cookie = client.cookies[known_browsers.COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    request = RequestFactory().get(PAGE)
    request.COOKIES[known_browsers.COOKIE] = cookie.value
    assert known_browsers.browser_id(request, "Charlie")
    assert known_browsers.browser_id(request, "alice") == ""


def test_a_password_that_could_not_be_checked_does_not_count(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database failed meanwhile: 503, and the right password works as soon as it is back."""

    def fail(*args: object, **credentials: object) -> None:
        raise OperationalError("the connection is lost")

    client = Client()
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "authenticate", fail)
        for _ in range(PER_ACCOUNT_AND_ADDRESS + 1):
            answer = client.post(PAGE, {"username": "alice", "password": RIGHT})
            assert answer.status_code == 503
            assert answer["Retry-After"] == "5"
    assert events() == []
    assert sign_in(client, RIGHT) == 302


def test_an_address_that_tries_many_accounts_is_refused(owner: User) -> None:
    client = Client(REMOTE_ADDR="203.0.113.7")
    found = [sign_in(client, WRONG, f"name{number}") for number in range(PER_ADDRESS + 3)]
    assert found == [422] * PER_ADDRESS + [429] * 3
    assert sign_in(Client(REMOTE_ADDR="203.0.113.8"), RIGHT) == 302


@pytest.mark.parametrize(("trusted", "expected"), [(0, 429), (1, 422)])
def test_a_senders_word_for_its_address_counts_only_behind_a_proxy(
    trusted: int, expected: int, settings: Settings
) -> None:
    """The proxy's own entry is the last one."""
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = trusted
    client = Client()
    for number in range(PER_ADDRESS):
        header = {"X-Forwarded-For": f"198.51.100.9, 203.0.113.{number}"}
        client.post(PAGE, {"username": f"name{number}", "password": WRONG}, headers=header)
    header = {"X-Forwarded-For": "198.51.100.9, 203.0.113.99"}
    last = client.post(PAGE, {"username": "last", "password": WRONG}, headers=header)
    assert last.status_code == expected


def test_a_server_on_a_unix_socket_knows_no_address(owner: User) -> None:
    client = Client(REMOTE_ADDR="")
    assert sign_in(client, WRONG) == 422
    assert sign_in(client, RIGHT) == 302


def test_what_is_typed_as_a_name_is_not_noted_unless_it_is_one(owner: User) -> None:
    """People type their password there."""
    sign_in(Client(), "x", name=WRONG)
    sign_in(Client(), WRONG, name="alice")
    stored = str(list(AuditEvent.objects.values()))
    assert WRONG not in stored
    assert [subject for *_, subject in events()] == ["an account that does not exist", "alice"]


def test_who_is_not_active_does_not_get_in(stranger: User) -> None:
    stranger.is_active = False
    stranger.save()
    assert sign_in(Client(), RIGHT, "charlie") == 422


def test_the_admin_has_no_door_of_its_own(owner: User, stranger_client: Client) -> None:
    """Its sign-in and its change of a password are ours; who is no operator is refused there."""
    anonymous = Client()
    assert anonymous.get("/admin/", follow=True).redirect_chain[-1][0].startswith(PAGE)
    posted = anonymous.post("/admin/login/", {"username": "alice", "password": RIGHT})
    assert posted["Location"].startswith(PAGE)
    assert stranger_client.get("/admin/login/").status_code == 403
    operator = Client()
    assert sign_in(operator, RIGHT, next="/admin/") == 302
    assert operator.get("/admin/").status_code == 200
    assert operator.get("/admin/password_change/")["Location"] == "/settings/password/"


def test_the_admin_shows_no_addresses_of_mail(owner_client: Client) -> None:
    """Nothing here uses them."""
    html = owner_client.get("/admin/").content.decode()
    assert "/admin/auth/user/" in html
    assert "/admin/account/" not in html


def test_signing_out_is_noted(owner_client: Client) -> None:
    owner_client.post("/sign-out/")
    assert events() == [("alice", "signed out", "alice")]
    assert owner_client.get("/chat/").status_code == 302


def test_a_session_from_before_is_still_good(owner: User) -> None:
    """It names the backend that Django had then."""
    session = import_module(django_settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(owner.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = owner.get_session_auth_hash()
    session.save()
    client = Client()
    client.cookies[django_settings.SESSION_COOKIE_NAME] = session.session_key
    assert client.get("/providers/").status_code == 200


def test_nobody_signs_up_or_asks_for_mail() -> None:
    """Of allauth's pages there is the sign-in alone."""
    for path in ("/accounts/signup/", "/signup/", "/sign-in/signup/", "/accounts/password/reset/"):
        assert Client().get(path).status_code == 404


def test_each_change_of_a_user_is_noted_without_the_password(
    owner: User, owner_client: Client
) -> None:
    """By a page, by the admin, by a command."""
    AuditEvent.objects.all().delete()
    fields = {"username": "dora", "usable_password": "true"}
    fields |= dict.fromkeys(("password1", "password2"), "a-longer-pass-phrase")
    assert owner_client.post("/admin/auth/user/add/", fields).status_code == 302
    dora = User.objects.get(username="dora")
    dora.groups.add(Group.objects.create(name="team"))
    dora.set_password("another-pass-phrase")
    dora.save()
    dora.is_staff = True
    dora.save()
    dora.save(update_fields=["last_login"])
    owner_client.post(f"/admin/auth/user/{dora.pk}/delete/", {"post": "yes"})
    assert events() == [
        ("alice", "created", "dora"),
        ("command line", "changed", "dora"),
        ("command line", "changed", "dora"),
        ("command line", "changed", "dora"),
        ("alice", "deleted", "dora"),
    ]
    rows = [each.changes for each in AuditEvent.objects.order_by("pk")]
    assert rows[1:4] == [
        {"groups": ["", "added team"]},
        {"password": ["stored", "replaced"]},
        {"is_staff": ["False", "True"]},
    ]
    assert "phrase" not in str(rows)
    assert "pbkdf2" not in str(rows)


def test_commands_change_users_as_well() -> None:
    call_command("createsuperuser", username="eve", email="", interactive=False)
    assert events() == [("command line", "created", "eve")]


@pytest.mark.django_db(transaction=True)
def test_a_password_is_hashed_without_a_database_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a name that exists, of one that does not, of a right one, and of a new one."""
    User.objects.create_superuser("alice", password=RIGHT)
    held: list[bool] = []
    for name in ("check_password", "set_password"):
        original = getattr(User, name)

        def spy(user: User, raw: str, original: object = original) -> object:
            held.append(connection.connection is not None)
            return original(user, raw)  # type: ignore[operator]

        monkeypatch.setattr(User, name, spy)
    client = Client()
    sign_in(client, WRONG)
    sign_in(client, WRONG, "nobody")
    assert sign_in(client, RIGHT) == 302
    new = dict.fromkeys(("new_password1", "new_password2"), "another-long-phrase")
    answer = client.post("/settings/password/", {"old_password": RIGHT, **new})
    assert answer.status_code == 302
    assert held == [False] * 5


def test_too_many_at_once_are_refused_and_not_counted(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.01)
    for _ in range(passwords.MAX_AT_ONCE):
        passwords._turns.acquire()
    try:
        for _ in range(PER_ACCOUNT_AND_ADDRESS + 1):
            answer = Client().post(PAGE, {"username": "alice", "password": RIGHT})
            assert "Try again in a few seconds" in answer.content.decode()
    finally:
        for _ in range(passwords.MAX_AT_ONCE):
            passwords._turns.release()
    assert sign_in(Client(), RIGHT) == 302


def test_keys_are_exported_only_with_the_password(owner_client: Client, owner: User) -> None:
    """Wrong ones count as at the sign-in; what carries no secret needs none."""
    Provider.objects.create(
        name="Acme", slug="acme", base_url="http://a/v1", api_key=SECRET_KEY_OF_A_PROVIDER
    )
    page = "/settings/export/"
    typed = dict.fromkeys(("passphrase", "again"), "correct horse battery") | {"way": "sealed"}
    missing = owner_client.post(page, typed)
    assert missing.status_code == 422
    assert "attachment" not in str(missing.headers)
    assert "Enter your password." in missing.content.decode()
    for _ in range(PER_ACCOUNT_AND_ADDRESS):
        wrong = owner_client.post(page, typed | {"password": WRONG})
        assert "This is not your password." in wrong.content.decode()
    refused = owner_client.post(page, typed | {"password": RIGHT})
    assert "Too many wrong passwords" in refused.content.decode()
    assert sign_in(Client(), RIGHT) == 429
    assert owner_client.post(page, {"way": "own"}).status_code == 200
    verbs = [verb for _, verb, _ in events()]
    assert verbs.count("typed a wrong password") == PER_ACCOUNT_AND_ADDRESS
    test_throttle.forget()
    assert owner_client.post(page, typed | {"password": RIGHT})["Content-Disposition"]


def test_the_own_password_is_changed_under_the_same_throttle(owner_client: Client) -> None:
    new = dict.fromkeys(("new_password1", "new_password2"), "another-long-phrase")
    typed = {"old_password": WRONG, **new}
    found = [owner_client.post("/settings/password/", typed).content.decode() for _ in range(6)]
    assert "This is not your password." in found[PER_ACCOUNT_AND_ADDRESS - 1]
    assert "Too many wrong passwords" in found[PER_ACCOUNT_AND_ADDRESS]


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 s"), (89, "89 s"), (90, "1 min 30 s"), (300, "5 min 0 s")]
)
def test_a_wait_is_said_as_the_countdown_says_it(seconds: int, words: str) -> None:
    assert accounts._duration(seconds) == words
