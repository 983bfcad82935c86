"""Many clients on the official Python SDK in one process, each of which calls a tool again and
again and counts what became of it.

    python crowd.py URL legacy|2026-07-28

What it is told on its standard input, and what it says, is in tests/lab/crowd.rs.
"""

import asyncio
import json
import os
import sys

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

URL, MODE = sys.argv[1:3]
PAUSE = 0.5
LOST = 3  # a session that fails this often in a row is lost


class Crowd:
    def __init__(self) -> None:
        self.going = False
        self.opened = 0
        self.members: list[Member] = []
        self.total = {"calls": 0, "moved": 0, "failed": [], "broken": []}
        self.served = asyncio.Event()

    async def join(self, count: int) -> None:
        joined = [Member(self) for _ in range(count)]
        await asyncio.gather(*(member.open() for member in joined))
        self.members += joined
        if self.going:
            self.begin(joined)

    def begin(self, members) -> None:
        for member in members:
            member.going.set()

    async def go(self) -> None:
        self.going = True
        self.begin(self.members)

    async def hold(self) -> None:
        self.going = False
        for member in self.members:
            member.going.clear()
            await member.idle.wait()

    async def rounds(self, count: int) -> None:
        wanted = [(member, member.fine + count) for member in self.members]
        while any(m.fine < fine and m.failing < LOST for m, fine in wanted):
            self.served.clear()
            await self.served.wait()

    async def renew(self, count: int) -> None:
        leaving, self.members = self.members[:count], self.members[count:]
        await asyncio.gather(*(member.leave() for member in leaving))
        await self.join(count)

    def report(self) -> dict:
        homes: dict[str, int] = {}
        for member in self.members:
            homes[member.home] = homes.get(member.home, 0) + 1
        lost = sum(member.failing >= LOST for member in self.members)
        return {"sessions": len(self.members), "homes": homes, "lost": lost, **self.total}


class Member:
    """A client in a task of its own, since the SDK wants to be left where it was entered."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.number = crowd.opened
        crowd.opened += 1
        self.home = None
        self.handle = None
        self.count = self.fine = self.failing = 0
        self.going, self.idle = asyncio.Event(), asyncio.Event()
        self.leaving = False
        self.idle.set()

    async def open(self) -> None:
        opened = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.live(opened))
        await opened

    async def leave(self) -> None:
        self.leaving = True
        self.going.set()
        await self.task

    async def live(self, opened: asyncio.Future) -> None:
        try:
            headers = {"Authorization": f"Bearer {os.getpid()}-{self.number}"}
            async with create_mcp_http_client(headers=headers) as http:
                transport = streamable_http_client(URL, http_client=http)
                async with Client(transport, mode=MODE) as client:
                    self.client = client
                    await self.step()
                    opened.set_result(None)
                    await self.call_on()
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)

    async def call_on(self) -> None:
        while True:
            await self.going.wait()
            if self.leaving:
                return
            self.idle.clear()
            try:
                await self.step()
            except Exception as error:  # whatever the SDK raises is a failed call
                self.failing += 1
                what = f"{type(error).__name__}: {error}"
                code = getattr(getattr(error, "error", None), "code", None)
                failure = {"session": self.number, "home": self.home, "what": what, "code": code}
                self.crowd.total["failed"].append(failure)
            self.crowd.served.set()
            self.idle.set()
            await asyncio.sleep(PAUSE)

    async def call(self, name: str, arguments: dict | None = None):
        result = await self.client.call_tool(name, arguments or {})
        text = getattr(result.content[0], "text", "") if result.content else ""
        return text, bool(result.is_error)

    async def step(self) -> None:
        """One call, and whether it was answered where the calls before were."""
        if MODE == "legacy":
            return self.look(*await self.call("visit"))
        if self.handle is None:
            self.handle, _ = await self.call("open_tally")
        text, failed = await self.call("tally", {"handle": self.handle})
        if failed:  # somebody else's server: it is begun anew there
            self.handle, _ = await self.call("open_tally")
            text, failed = await self.call("tally", {"handle": self.handle})
        return self.look(text, failed)

    def look(self, text: str, failed: bool) -> None:
        if failed:
            raise RuntimeError(f"isError: {text}")
        said, total = json.loads(text), self.crowd.total
        label, count = said["label"], said["count"]
        moved = self.home is not None and label != self.home
        if moved or self.home is None:
            right = count == 1
        else:  # a call that failed may have been counted or not
            right = self.count < count <= self.count + 1 + self.failing
        total["moved"] += moved
        if not right:
            was = {"session": self.number, "home": self.home, "was": self.count}
            total["broken"].append({**was, "label": label, "count": count})
        self.home, self.count, self.failing = label, count, 0
        self.fine += 1
        total["calls"] += 1


async def main() -> None:
    crowd = Crowd()
    verbs = {"join": crowd.join, "go": crowd.go, "hold": crowd.hold}
    verbs |= {"rounds": crowd.rounds, "renew": crowd.renew}
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, *count = line.split()
        try:
            await verbs[verb](*map(int, count))
            said = crowd.report()
        except Exception as error:
            said = {"error": f"{line.strip()}: {type(error).__name__}: {error}"}
        print(json.dumps(said), flush=True)
    await asyncio.gather(*(member.leave() for member in crowd.members))


asyncio.run(main())
