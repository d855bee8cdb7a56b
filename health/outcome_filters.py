"""What an attempt says about its route: that it does well, that it does not, or nothing."""

from django.db.models import Q

from providers.domain.errors import ErrorKind
from providers.domain.types import RESENT_CODES
from providers.models import Purpose
from providers.router.attempt_writer import PROBE_SAYS_NOTHING

GOOD = Q(outcome="ok")
STOPPED = Q(outcome=ErrorKind.STOPPED)
# A wrong request is the caller's doing, a 403 is about one model or prompt, and a probe may be
# refused where a chat is not.
SAYS_NOTHING = (
    Q(outcome__in=[ErrorKind.REQUEST, ErrorKind.PERMISSION])
    | Q(purpose=Purpose.PROBE, outcome__in=sorted(PROBE_SAYS_NOTHING))
    | Q(error_code__in=sorted(RESENT_CODES))
)
BAD = ~(GOOD | STOPPED | SAYS_NOTHING)
RESCUED = Q(outcome="ok", position__gt=1)
