"""Find the provider that a call names, and those that may answer in its place."""

from providers.router.call import Call
from providers.router.route_table import RouteTable
from providers.router.snapshot import Candidate, Snapshot


async def find_candidates(table: RouteTable, snapshot: Snapshot, call: Call) -> list[Candidate]:
    """The provider of the call first; of another one the first model counts. Empty where the
    provider is gone or paused."""
    first = await table.candidate(call.provider_id, call.model_id, snapshot)
    if first is None:
        return []
    by_provider = {first.provider_id: first}
    others = list(call.fallbacks)
    for pk in first.alternatives:
        if same := snapshot.find_same_model(first.model_id, pk):
            others.append((pk, same.model_id))
    for pk, model_id in others:
        if pk not in by_provider and (other := await table.candidate(pk, model_id, snapshot)):
            by_provider[pk] = other
    return list(by_provider.values())
