"""What a thief of the database's dump would find: no key, in whatever table."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from providers.models import Gateway, Provider

KEYS = {
    "api_key": "sk-stored-0123456789wxyz",
    "gateway_api_key": "sk-gateway-0123456789wxyz",
    "extra_headers": "header-0123456789wxyz",
}
CHANGED = "sk-changed-0123456789wxyz"


def dumped() -> dict[str, str]:
    """Each table as `pg_dump` writes it."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            with cursor.copy(f'COPY "{table}" TO STDOUT') as rows:
                found[table] = b"".join(bytes(row) for row in rows).decode()
    return found


@pytest.fixture
def spoken(make_provider: Callable[..., Provider], owner_client: Client) -> list[str]:
    """Secrets that came in by each route there is: rows, the panel, the admin, the Connect page."""
    provider = make_provider(
        api_key=KEYS["api_key"],
        gateway_api_key=KEYS["gateway_api_key"],
        extra_headers={"X-Team": KEYS["extra_headers"]},
    )
    provider.api_key = CHANGED
    provider.save()
    sent = {"name": "Spare", "address": "http://litellm:4000", "enabled": "on"}
    admin = reverse("admin:providers_gateway_add")
    assert owner_client.post(admin, sent | {"new_key": CHANGED + "-2"}).status_code == 302
    assert Gateway.objects.get().api_key == CHANGED + "-2"
    address = reverse("api:create-key")
    page = owner_client.post(address, {"name": "laptop", "days": "0"}).content.decode()
    client_key = re.findall(r"ocw-[\w-]{43}", page)[0]
    return [*KEYS.values(), CHANGED, client_key]


def test_a_dump_of_every_table_holds_no_secret(spoken: list[str], owner: User) -> None:
    """Provider, gateway and client keys, headers, audit events, the admin's history, sessions."""
    tables = dumped()
    for table in ("providers_gateway", "providers_auditevent", "django_admin_log"):
        assert "Spare" in tables[table]  # the dump is one
    for table, text in tables.items():
        for secret in spoken:
            assert secret not in text, table
