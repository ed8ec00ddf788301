"""Calls: scripts for the edge, each sent to the server that has its keys, one write and one answer a server.

redis-py packs for asyncio in Python, which is half of an append's time at the edge: here it is done in C.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import hiredis
from redis.exceptions import (
    ClusterDownError,
    MovedError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as TooSlow

from collector.connections import AsyncRedis, clustered
from collector.settings import Settings

REDIRECTS = 5  # a failover moves a slot once; more than a few are a cluster that is not of one mind


class NotReplicated(RedisError):
    """The primary has it on disk, but not enough replicas had it in time."""


class Call(NamedTuple):
    """A script's keys, in a cluster all of one slot, and its arguments."""

    keys: Sequence[str]
    args: Sequence[str | bytes | int]


class Calls:
    """One script, to be run on one server or on a cluster."""

    def __init__(self, client: AsyncRedis, script: str, digest: str, settings: Settings) -> None:
        self._client = client
        self._script = script
        self._digest = digest
        self._replicas = settings.wait_replicas
        self._patience = int(
            settings.append_timeout * 500
        )  # ms: half, so that the answer comes before the time-out
        self.clustered = clustered(client)

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run them all; what each returned, in their order.

        Raises connections.Unavailable when one of them failed; any of the others may have run all the same. A slot on
        its way between two servers fails too: the script touches more keys of it than it names, so it must not run
        while they are in two places.
        """
        answers: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        for _ in range(REDIRECTS):
            for place, answer in zip(left, await self._ask([calls[place] for place in left]), strict=True):
                answers[place] = answer
            left = [place for place in left if isinstance(answers[place], MovedError)]
            for moved in {answers[place].slot_id: answers[place] for place in left}.values():
                await self._client.nodes_manager.move_slot(moved)
            if not left:
                break
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _ask(self, calls: Sequence[Call]) -> list[Any]:
        """One round to each server; an answer may be an error that came instead."""
        if not self.clustered:
            pool = self._client.connection_pool
            connection = await pool.get_connection()
            try:
                return await self._exchange(connection, calls)
            finally:
                await pool.release(connection)
        await self._client.initialize()
        of_node: dict[Any, list[int]] = {}
        for place, call in enumerate(calls):
            of_node.setdefault(self._client.get_node_from_key(call.keys[0]), []).append(place)
        exchanges = (self._on_node(node, [calls[place] for place in some]) for node, some in of_node.items())
        answers: list[Any] = [None] * len(calls)
        broken: BaseException | None = None
        # Not left behind when one fails: a group that is repeated meets no straggler of its first attempt.
        for some, found in zip(
            of_node.values(), await asyncio.gather(*exchanges, return_exceptions=True), strict=True
        ):
            if isinstance(found, BaseException):
                broken = found
                continue
            for place, answer in zip(some, found, strict=True):
                answers[place] = answer
                if isinstance(answer, ClusterDownError):
                    broken = answer
        if broken is not None:
            if isinstance(broken, (Disconnected, TooSlow, ClusterDownError, RedisClusterException)):
                await self._client.aclose()  # the next call asks who the primaries are now
            raise broken
        return answers

    async def _on_node(self, node: Any, calls: Sequence[Call]) -> list[Any]:
        connection = node.acquire_connection()
        try:
            await node.disconnect_if_needed(connection)
            return await self._exchange(connection, calls)
        finally:
            node.release(connection)

    async def _exchange(self, connection: Any, calls: Sequence[Call]) -> list[Any]:
        answers, reached = await self._send(connection, "EVALSHA", self._digest, calls)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            some = [calls[place] for place in unknown]
            again, reached = await self._send(connection, "EVAL", self._script, some)
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        if reached < self._replicas:
            raise NotReplicated(f"{reached} of {self._replicas} replicas had it in time")
        return answers

    async def _send(
        self, connection: Any, command: str, script: str, calls: Sequence[Call]
    ) -> tuple[list[Any], int]:
        """The answers, and how many replicas have all that the server wrote up to them (0 when nobody asks)."""
        packed = [pack(command, script, len(call.keys), *call.keys, *call.args) for call in calls]
        if self._replicas:
            packed.append(pack("WAIT", self._replicas, self._patience))
        await connection.send_packed_command(packed)
        answers = [await _answer(connection) for _ in packed]
        reached = answers.pop() if self._replicas else 0
        if isinstance(reached, ResponseError):
            raise reached
        return answers, reached


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def pack(*parts: Any) -> bytes:
    """A command as on the wire."""
    packed: bytes = hiredis.pack_command(parts)  # hiredis' hints know tuples of one
    return packed
