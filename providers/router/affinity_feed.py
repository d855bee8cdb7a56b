"""Share between processes which member of a virtual model answered each conversation last.

Redis carries one message for the answers of a moment, sent behind them; every process keeps what it
hears in its own memory, so that no request waits for Redis. While Redis is away each process knows
its own answers only: a conversation may then move, and pays its provider's cache once more.
"""

import asyncio
import json
import logging
from contextlib import suppress
from functools import partial

from redis.exceptions import RedisError

from providers.infra import redis_client
from providers.infra.redis_client import Redis, RedisUnavailable
from providers.policy.model_names import ModelKey
from providers.router.affinity import Affinity

log = logging.getLogger(__name__)

CHANNEL = "affinity"
SEND_SECONDS = 0.05  # answers within it are sent together
MAX_PENDING = 1000  # answers that wait to be sent; more are not shared


class AffinityFeed:
    """Sends one event loop's answers, and adds those of other processes to `affinity`."""

    def __init__(self, affinity: Affinity) -> None:
        self._affinity = affinity
        self._pending: dict[str, ModelKey] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Listen and send from now on; does nothing where that runs."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(each()) for each in (self._listen, self._send)]

    def note(self, conversation: str, member: ModelKey) -> None:
        """A member has answered a conversation here. Never waits."""
        self._affinity.note(conversation, member)
        if len(self._pending) < MAX_PENDING:
            self._pending[conversation] = member
            self._wake.set()

    async def close(self) -> None:
        """End both tasks."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(SEND_SECONDS)
            self._wake.clear()
            pending, self._pending = self._pending, {}
            message = json.dumps([[name, *member] for name, member in pending.items()])
            try:
                await redis_client.execute_patiently(partial(_publish, message))
            except RedisUnavailable:
                log.info("affinity_not_shared count=%s", len(pending))

    async def _listen(self) -> None:
        while True:
            try:
                await self._receive()
            except (RedisError, OSError):
                await asyncio.sleep(1)

    async def _receive(self) -> None:
        client = redis_client.blocking_client()
        async with client, client.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(CHANNEL)
            async for message in channel.listen():
                for name, provider_id, model_id in json.loads(message["data"]):
                    self._affinity.note(name, (provider_id, model_id))


async def _publish(message: str, client: Redis) -> None:
    await client.publish(CHANNEL, message)
