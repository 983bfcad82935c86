"""A client on the official Python SDK over HTTP+SSE that does what its standard input says.

    python sse_agent.py URL

Prints one JSON line when it is connected, then one for each line it reads: the name of a tool, which
it calls. At the end of its input it leaves.
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client


def say(value) -> None:
    print(json.dumps(value), flush=True)


async def obey(session: ClientSession, name: str):
    result = await session.call_tool(name, {})
    text = getattr(result.content[0], "text", None) if result.content else None
    return {"text": text, "isError": bool(result.is_error)}


async def main(url: str) -> None:
    async with sse_client(url) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        say({"connected": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                say(await obey(session, line.strip()))
            except Exception as error:  # whatever the SDK raises is what the test wants to see
                say({"failed": f"{type(error).__name__}: {error}"})


asyncio.run(main(sys.argv[1]))
