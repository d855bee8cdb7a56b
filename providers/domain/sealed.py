"""Stored secrets that cannot be decrypted: they read as empty, and their type marks them."""


class Sealed(str):
    """A text whose encryption key is lost; `token` is what is stored, and stays so on a save."""

    token: str

    def __new__(cls, token: str) -> "Sealed":
        sealed = super().__new__(cls, "")
        sealed.token = token
        return sealed


class SealedHeaders(dict[str, str]):
    """The same for a JSON object."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token


def is_sealed(secret: object) -> bool:
    """Whether the secret is stored and cannot be opened."""
    return isinstance(secret, Sealed | SealedHeaders)
