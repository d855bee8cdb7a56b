"""Preview the next request to virtual models from the stored state, and how a test reaches one."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby

from django.utils import timezone

from providers.diagnosis.member_forecast import NO_MEMBER, describe_next_request
from providers.domain.errors import CallError
from providers.domain.types import Method
from providers.models import VirtualMember, VirtualModel
from providers.policy import plan as planning
from providers.policy.members import READY, MemberState
from providers.policy.reasons import cooldown_reason
from providers.router import snapshot, virtual_models
from providers.router.snapshot import Candidate, Failures


def describe_all(shown: Iterable[VirtualModel]) -> dict[int, str]:
    """A sentence for each of these virtual models, by id, in a few queries however many."""
    sentences = {virtual.pk: NO_MEMBER for virtual in shown}
    rows = list(virtual_models.members_in_use().filter(virtual_model__in=sentences))
    providers = {row.model.provider_id: row.model.provider for row in rows}
    failures, now = snapshot.load_failures(providers.values()), timezone.now()
    for row in rows:
        row.model.provider = providers[row.model.provider_id]
    for pk, members in groupby(rows, lambda row: row.virtual_model_id):
        sentences[pk] = _describe(list(members), failures, now)
    return sentences


def _describe(rows: list[VirtualMember], failures: Failures, now: datetime) -> str:
    members = virtual_models.build_members(rows)
    states = [_state(row, failures, now) for row in rows]
    try:
        return describe_next_request(members, states)
    except CallError as error:
        return error.message


def _state(row: VirtualMember, failures: Failures, now: datetime) -> MemberState:
    provider = row.model.provider
    routes = failures.routes(provider, row.model.model_id)
    plan = planning.plan(snapshot.policy(provider), routes, now, snapshot.fresh())
    if plan.routes:
        return MemberState(ttft_ms=plan.routes[0].route.ttft_ms)
    cooling = [cooldown_reason(each, now) for each in routes if not each.admits(now)]
    return MemberState(cooldown="; ".join(cooling)) if cooling else READY


def method_in_use(candidate: Candidate) -> Method:
    """The method that requests use now."""
    plan = candidate.plan(timezone.now())
    return plan.routes[0].route.method if plan.routes else plan.preferred
