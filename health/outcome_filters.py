"""Classify attempts by what they say about their route: good, bad, or neither."""

from django.db.models import Q

from providers.domain.errors import ErrorKind
from providers.domain.types import RESENT_CODES
from providers.models import Purpose
from providers.router.results import UNJUDGED_PROBE_KINDS

GOOD = Q(outcome="ok")
STOPPED = Q(outcome=ErrorKind.STOPPED)
# A wrong request is the caller's fault, a 403 concerns one model or prompt, and a provider may
# refuse probes but not chats.
NEUTRAL = (
    Q(outcome__in=[ErrorKind.REQUEST, ErrorKind.PERMISSION])
    | Q(purpose=Purpose.PROBE, outcome__in=sorted(UNJUDGED_PROBE_KINDS))
    | Q(error_code__in=sorted(RESENT_CODES))
)
BAD = ~(GOOD | STOPPED | NEUTRAL)
RESCUED = Q(outcome="ok", position__gt=1)
