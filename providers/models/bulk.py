"""Write many rows in one statement. All hand-written SQL of the models is in this module.

Django saves row by row, or builds one CASE for each row and column, which takes longer than the
calls whose results are written. Here PostgreSQL gets all rows as one JSON text instead, and reads
them by the column types of the table itself.

Worked example: two routes changed while a batch of results was applied. The call

    rewrite(
        Route,
        [
            {"id": 7, "state": "open", "epoch": 3},
            {"id": 9, "state": "closed", "epoch": 8},
        ],
    )

sends one statement:

    UPDATE "providers_route" SET ("state", "epoch") = ROW(new."state", new."epoch")
    FROM json_populate_recordset(NULL::"providers_route",
        '[{"id":7,"state":"open","epoch":3},{"id":9,"state":"closed","epoch":8}]') AS new
    WHERE "providers_route".id = new.id

`NULL::"providers_route"` names the row type: "open" becomes a varchar, 3 a bigint, an ISO text a
timestamptz. A column that the JSON leaves out is NULL in `new`; it is not in SET, so it stays as it
is. Names of tables and columns come from the models, values only as the statement's parameter.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from django.db import connection
from django.db.models import Model

type Row = dict[str, Any]


def rewrite(model: type[Model], rows: Sequence[Row]) -> None:
    """Update these rows by their `id`, which the caller has locked. All have the same columns."""
    if not rows:
        return
    table = model._meta.db_table
    names = [f'"{name}"' for name in rows[0] if name != "id"]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE "{table}" SET ({", ".join(names)}) = ROW({", ".join(f"new.{n}" for n in names)})
            FROM json_populate_recordset(NULL::"{table}", %s) AS new
            WHERE "{table}".id = new.id
            """,  # noqa: S608  # names of ours
            [_as_json(rows)],
        )


def append_once(model: type[Model], rows: Sequence[Row]) -> set[Any]:
    """Insert these rows, except those whose `uuid` is stored already; return the uuids inserted.

    A connection may break while it commits: the writer cannot know whether it did, and writes the
    same rows again. All rows have the same columns.
    """
    if not rows:
        return set()
    table = model._meta.db_table
    columns = ", ".join(f'"{name}"' for name in rows[0])
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO "{table}" ({columns})
            SELECT {columns} FROM json_populate_recordset(NULL::"{table}", %s)
            ON CONFLICT (uuid) DO NOTHING RETURNING uuid
            """,  # noqa: S608  # names of ours
            [_as_json(rows)],
        )
        return {uuid for (uuid,) in cursor.fetchall()}


_ADD_KEY_COSTS = """
    INSERT INTO providers_keyspend AS stored (client_key, day, cost)
    SELECT client_key, day, cost
    FROM json_populate_recordset(NULL::providers_keyspend, %s)
    ORDER BY client_key, day
    ON CONFLICT (client_key, day) DO UPDATE SET cost = stored.cost + EXCLUDED.cost
"""


def add_key_costs(costs: Mapping[int, Mapping[date, Decimal]]) -> None:
    """Add costs to the days of client keys. Locks the rows in the order of key and day."""
    rows: list[Row] = [
        {"client_key": key, "day": day, "cost": cost}
        for key, days in costs.items()
        for day, cost in days.items()
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_ADD_KEY_COSTS, [_as_json(rows)])


_CLAIM_DUE_CHECKS = """
    WITH due AS (
        SELECT id, next_check_at FROM providers_provider
        WHERE enabled AND removed_at IS NULL AND next_check_at <= %(now)s
            AND (%(only)s::bigint IS NULL OR id = %(only)s)
        ORDER BY next_check_at LIMIT %(limit)s
        FOR NO KEY UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE providers_provider AS claimed
        SET next_check_at = %(now)s
            + make_interval(secs => health_check_interval * (0.9 + 0.2 * random()))
        FROM due WHERE claimed.id = due.id
        RETURNING due.id, due.next_check_at AS was_due
    )
    SELECT id FROM claimed ORDER BY was_due
"""


def claim_due_checks(now: datetime, limit: int, only: int | None) -> list[int]:
    """Claim providers whose check is due by moving their next check; see Provider's `claim_due`."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_DUE_CHECKS, {"now": now, "limit": limit, "only": only})
        return [pk for (pk,) in cursor.fetchall()]


def _as_json(rows: Sequence[Row]) -> str:
    return orjson.dumps(rows, default=str).decode()
