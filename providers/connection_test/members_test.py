"""Test the members of a virtual model at the same time: one short chat to each."""

import asyncio
from collections.abc import Mapping, Sequence

from django.utils import timezone

from providers.connection_test import recording, test_chat
from providers.connection_test.draft import Draft
from providers.connection_test.recording import MethodResult
from providers.connection_test.test_chat import ChatReply
from providers.domain.types import Method
from providers.infra import database


async def chat_with_members(members: Sequence[tuple[Draft, Method]]) -> list[ChatReply]:
    """The reply of each member, in order. Each counts for its route like any other test.

    A provider gets as many chats at once as its key allows.
    """
    limits = {
        _account(draft): asyncio.Semaphore(draft.max_concurrent_chats) for draft, _ in members
    }
    chats = [_test(draft, method, limits) for draft, method in members]
    return await asyncio.gather(*chats)


async def _test(draft: Draft, method: Method, limits: Mapping[int, asyncio.Semaphore]) -> ChatReply:
    async with limits[_account(draft)]:
        started_at = timezone.now()
        reply = await test_chat.send(draft.target(method, draft.model_id))
    result = MethodResult(
        method=method,
        started_at=started_at,
        ms=reply.ms,
        model_id=draft.model_id,
        error=reply.error,
        reply=reply,
    )
    if draft.stored:
        await database.run(recording.record, draft.stored, [result])
    return reply


def _account(draft: Draft) -> int:
    return draft.stored.provider_id if draft.stored else 0
