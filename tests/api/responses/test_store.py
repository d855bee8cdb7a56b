"""A provider's own answer is stored where it has the ids by which it is read."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User

from api.models import StoredResponse
from api.responses import store

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("response", "is_stored"),
    [
        ({"id": "resp_1", "output": [{"id": "msg_1"}, {"type": "function_call"}]}, True),
        ({"id": "resp_1", "output": []}, True),
        ({"id": "resp_1"}, False),
        ({"output": []}, False),
        ({"id": "resp_1", "output": None}, False),
        ({"id": "resp_1", "output": ["text"]}, False),
        ({"id": "resp_\0", "output": []}, False),
        ({"id": "resp_1", "output": [{"id": "\ud800"}]}, False),
        ({"id": "resp_1", "output": [{"id": None}]}, True),
        ({"id": "resp_1", "output": [{"id": 5}]}, False),
        ({"id": 5, "output": []}, False),
    ],
)
def test_what_is_stored(owner: User, response: dict[str, Any], is_stored: bool) -> None:
    assert async_to_sync(store.save)(owner.pk, (), response) is is_stored
    assert StoredResponse.objects.count() == is_stored
