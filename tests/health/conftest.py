"""Attempts as calls leave them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from providers.models import Attempt, Provider

type Tried = Callable[..., Attempt]


@pytest.fixture
def tried(db: None) -> Tried:
    """Makes one attempt; `ago` in timedelta, `at` a moment."""

    def make(provider: Provider, outcome: str = "ok", **fields: Any) -> Attempt:
        at: datetime = fields.pop("at", None) or timezone.now()
        if ago := fields.pop("ago", None):
            at -= ago
        request: UUID = fields.pop("request_id", None) or uuid4()
        fields = {"method": "direct", "purpose": "chat", "model_id": "m"} | fields
        return Attempt.objects.create(
            provider=provider, outcome=outcome, request_id=request, started_at=at, **fields
        )

    return make
