"""The environment: typed values, files for secrets, and one sentence for what is wrong."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from opencode_web import env

KEY = Fernet.generate_key().decode()
GOOD = {
    "SECRET_KEY": "x" * 50,
    "ENCRYPTION_KEYS": KEY,
    "DATABASE_URL": "postgresql://u:hunter2@db/x",
    "REDIS_URL": "redis://r/0",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A good environment and nothing else of ours in it."""
    for name in env.Environment.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_good_environment_is_read(environment: pytest.MonkeyPatch) -> None:
    """With the defaults of everything that is not set."""
    environment.setenv("ALLOWED_HOSTS", "a.example, b.example")
    read = env.read()
    assert read.allowed_hosts == ["a.example", "b.example"]
    assert read.timeout_connect == 5
    assert "hunter2" not in repr(read)


def test_a_secret_may_come_from_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As container secrets do."""
    (tmp_path / "key").write_text("y" * 50 + "\n")
    environment.delenv("SECRET_KEY")
    environment.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    assert env.read().secret_key.get_secret_value() == "y" * 50


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", None, "SECRET_KEY is not set"),
        ("SECRET_KEY", "short", "SECRET_KEY is wrong"),
        ("ENCRYPTION_KEYS", "nonsense", "key 1 is not a Fernet key"),
        ("ENCRYPTION_KEYS", f"{KEY},bad", "key 2 is not a Fernet key"),
        ("DATABASE_URL", "mysql://u:hunter2@db/x", "must begin with postgresql://"),
        ("REDIS_URL", "http://r", "must begin with redis://"),
        ("PUBLIC_URL", "chat.example.com", "PUBLIC_URL is wrong"),
        ("DEBUG", "perhaps", "DEBUG is wrong"),
        ("TIMEOUT_CONNECT", "soon", "TIMEOUT_CONNECT is wrong"),
        ("TIMEOUT_CONNECT", "-1", "TIMEOUT_CONNECT is wrong"),
        ("DATABASE_POOL", "1", "DATABASE_POOL is wrong"),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL is wrong"),
        ("LITELLM_ENDPOINT", "litellm:4000", "LITELLM_ENDPOINT is wrong"),
        ("SECRET_KEY_FILE", "/nowhere/key", "SECRET_KEY_FILE names /nowhere/key"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_an_example(
    environment: pytest.MonkeyPatch, name: str, value: str | None, words: str
) -> None:
    """It names the variable, the problem and an example, and never the value itself."""
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(env.EnvironmentInvalid) as caught:
        env.read()
    sentence = str(caught.value)
    assert words in sentence
    assert f"Example: {name.removesuffix('_FILE')}" in sentence
    assert "hunter2" not in sentence
    assert len(sentence.splitlines()) == 1
