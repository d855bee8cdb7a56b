"""Whether a refused chat means that its key is not accepted. No I/O.

Only a key that is refused for everything is disabled, since that takes every model from everybody
until somebody edits it. A 401 says that the key is not accepted, a 403 that it is known and may not
do this. So, after a refused chat and with the answer to its list of models:

    chat    list of models    nothing ever went well with it    something did
    ------  ----------------  --------------------------------  --------------------------
    any     accepted          stays                             stays
    401     401               disabled                          disabled, unless it did since
    401     403               disabled                          stays
    403     401 or 403        disabled                          stays

A key that may chat but not list models is in the last column. A second model that answers 401
disables a key as well, without the list (policy/domains.py); a second 403 does not.
"""

from datetime import datetime

from providers.domain.errors import MODERATED, CallError, ErrorKind

REFUSED = frozenset({ErrorKind.AUTH, ErrorKind.PERMISSION})


def may_be_refused_key(error: CallError) -> bool:
    """Whether a failed chat is a reason to check its key."""
    return error.kind in REFUSED and error.code != MODERATED


def is_key_refused(
    chat: ErrorKind, listing: ErrorKind | None, refused_at: datetime, success_at: datetime | None
) -> bool:
    """The table above. `listing`: why no list came, None where one did. `success_at`: when
    something last went well with the key since it was entered."""
    if listing not in REFUSED:
        return False
    if success_at is None:
        return True
    return chat == listing == ErrorKind.AUTH and success_at < refused_at
