"""The pool of database connections, as the settings make it, where the database was away."""

import re
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.conf import settings
from psycopg_pool import ConnectionPool, PoolTimeout

from tests.e2e.door import Door
from tests.e2e.site import database_url
from tests.polling import wait_until

AWAY = 8.0  # seconds


def test_after_an_outage_it_connects_again_within_moments() -> None:
    """Not after as long a time again, which is what its own patience would come to."""
    found = re.search(r"@(%2F[^/:]+)", database_url(), re.IGNORECASE)
    if found is None:
        pytest.skip("DATABASE_URL is no socket of `./dev test`")
    door = Door(Path(unquote(found[1])) / ".s.PGSQL.5432")
    address = f"postgresql://postgres@127.0.0.1:{door.port}/postgres"
    given = settings.DATABASES["default"]["OPTIONS"]["pool"]
    with ConnectionPool(address, open=True, **given) as pool:
        shut_until = time.monotonic() + AWAY
        while time.monotonic() < shut_until:
            with pytest.raises(PoolTimeout), pool.connection(timeout=0.5):
                pass
        door.open()
        wait_until(lambda: connects(pool), 15)
    door.shut()


def connects(pool: ConnectionPool) -> bool:
    try:
        with pool.connection(timeout=0.5):
            return True
    except PoolTimeout:
        return False
