"""Fixtures of the providers' tests; here a Redis counts as away only after ten seconds."""

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def patience(settings: Settings) -> None:
    """A busy machine is no Redis that is away, without which everybody asks for himself."""
    settings.REDIS_PATIENCE = 10.0
