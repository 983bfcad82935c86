"""A client on the official Python SDK that does what its standard input says.

    python agent.py URL [auto|legacy|2026-07-28]      (default: legacy)

Prints one JSON line when it is connected, then one for each line it reads: `TOOL [ARGUMENTS]`
calls a tool, `:tools` lists the tools. At the end of its input it ends its session and leaves.
"""

import asyncio
import json
import sys

from mcp import Client


def say(value) -> None:
    print(json.dumps(value), flush=True)


async def obey(client: Client, line: str):
    if line == ":tools":
        return {"tools": [tool.name for tool in (await client.list_tools()).tools]}
    name, _, arguments = line.partition(" ")
    result = await client.call_tool(name, json.loads(arguments or "{}"))
    text = getattr(result.content[0], "text", None) if result.content else None
    return {"text": text, "isError": bool(result.is_error)}


async def main(url: str, mode: str) -> None:
    async with Client(url, mode=mode) as client:
        say({"connected": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                say(await obey(client, line.strip()))
            except Exception as error:  # whatever the SDK raises is what the test wants to see
                say({"failed": f"{type(error).__name__}: {error}"})


asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "legacy"))
