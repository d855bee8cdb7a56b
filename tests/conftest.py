"""Fixtures every test may use: the cast of users, a provider factory, and coroutine tests.

Databases are real: `./dev test` starts them and hands their addresses over in the environment.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test import Client, TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg.errors import DeadlockDetected

from health import liveness
from providers.models import AuditEvent, LanguageModel, Provider

# Made with the tables, and as much a part of the schema.
EMPTIES = 4  # tries, where programs under test are still writing
KEPT = frozenset({"django_content_type", "auth_permission", "django_migrations"})

pytest_plugins = ["tests.upstreams.fixtures", "tests.termination"]

# How long an example takes says more of the machine's other work than of the code.
hypothesis_settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs coroutine tests in the database's own thread: pytest-asyncio leaks rows on Postgres."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    run_to_end(pyfuncitem.obj, {name: pyfuncitem.funcargs[name] for name in names})
    return True


def run_to_end(test: Callable[..., Coroutine[Any, Any, None]], arguments: dict[str, Any]) -> None:
    """Runs a coroutine test; where its time is over, its loop, which runs in another thread, ends
    with it. It would go on for ever, and hold up the end of the process."""
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        started.append((asyncio.get_running_loop(), task))
        await test(**arguments)

    try:
        async_to_sync(run)()
    except BaseException:
        for loop, task in started:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)
        raise


@pytest.fixture(scope="session", autouse=True)
def _static_manifest() -> None:
    """Pages name their assets by hash, so the manifest has to be there."""
    if not (settings.STATIC_ROOT / "staticfiles.json").exists():
        call_command("collectstatic", "--noinput", verbosity=0)


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """One round of hashing: the usual million is half a second for each user of each test.

    What is stored names its rounds, so that the programs under test take it as it is.
    """
    PBKDF2PasswordHasher.iterations = 1


@pytest.fixture(scope="session", autouse=True)
def _quick_emptying() -> Iterator[None]:
    """Rows are deleted after a test that commits them: Django truncates each table and makes all
    permissions again, which takes 0.2 s, and these are a thousand tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: _empty())
        yield


def _empty() -> None:
    """Waits for programs that still write; a deadlock with one of them is a reason to begin again,
    as it has ended one side's transaction."""
    for _ in range(EMPTIES):
        try:
            return _delete_rows()
        except OperationalError as problem:
            if not isinstance(problem.__cause__, DeadlockDetected):
                raise
    return _delete_rows()


def _delete_rows() -> None:
    """Foreign keys are looked at as the transaction ends."""
    known = connection.introspection.django_table_names()
    tables = [f'"{name}"' for name in known if name not in KEPT]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute("; ".join(f"DELETE FROM {table}" for table in tables))  # noqa: S608


@pytest.fixture
def owner(db: None) -> User:
    """Alice, who runs the instance."""
    return _unnoted(User.objects.create_superuser("alice", password="a-long-pass-phrase"))


@pytest.fixture
def stranger(db: None) -> User:
    """Charlie, who has an account and no business with Alice's things."""
    return _unnoted(User.objects.create_user("charlie", password="a-long-pass-phrase"))


def _unnoted(user: User) -> User:
    """The user, without the audit event of their making: what a test does comes first."""
    AuditEvent.objects.filter(kind="user", subject=user.username).delete()
    return user


@pytest.fixture
def owner_client(owner: User) -> Client:
    # The frame of a page asks for it now and then: not while a test counts queries.
    liveness.database_problem.expires_at = time.monotonic() + 60
    client = Client()
    client.force_login(owner)
    return client


@pytest.fixture
def stranger_client(stranger: User) -> Client:
    client = Client()
    client.force_login(stranger)
    return client


@pytest.fixture
def make_provider(db: None) -> Callable[..., Provider]:
    """Makes a provider with its routes and one language model, `model_id` of which is `m`."""

    def make(name: str = "Acme", model_id: str = "m", **fields: Any) -> Provider:
        fields = {"slug": name.lower(), "base_url": "http://127.0.0.1:9/v1"} | fields
        provider = Provider.objects.create(name=name, **fields)
        provider.ensure_routes()
        LanguageModel.objects.create(provider=provider, model_id=model_id, name=model_id)
        return provider

    return make
