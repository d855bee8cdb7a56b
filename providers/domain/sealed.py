"""Stored secrets that cannot be decrypted: they read as empty, but their type identifies them."""


class Sealed(str):
    """A text whose encryption key is lost. `token` is the stored value, which a save keeps."""

    token: str

    def __new__(cls, token: str) -> "Sealed":
        sealed = super().__new__(cls, "")
        sealed.token = token
        return sealed


class SealedHeaders(dict[str, str]):
    """A JSON object whose encryption key is lost."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token


def is_sealed(secret: object) -> bool:
    """Whether the secret is stored but cannot be decrypted."""
    return isinstance(secret, Sealed | SealedHeaders)
