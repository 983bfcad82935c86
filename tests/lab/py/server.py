"""An MCP server on the official Python SDK, for both eras of the protocol.

    LABEL=v1 python server.py

Listens on a port of its own at 127.0.0.1 and prints {"port":…}. Its tools are those of the
fixture that crowds call: `whoami`, `visit`, `open_tally` and `tally`.
"""

import asyncio
import json
import os
import socket
import uuid
from collections import Counter

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

LABEL = os.environ.get("LABEL", "v1")
server = MCPServer(f"python-{LABEL}")
visits: Counter[str] = Counter()
tallies: dict[str, int] = {}


def counted(count: int) -> str:
    return json.dumps({"label": LABEL, "count": count})


@server.tool(structured_output=False)
def whoami() -> str:
    """Tells the server's label."""
    return LABEL


@server.tool(structured_output=False)
def visit(ctx: Context) -> str:
    """Counts the calls of a session."""
    session = (ctx.headers or {}).get("mcp-session-id", "none")
    visits[session] += 1
    return counted(visits[session])


@server.tool(structured_output=False)
def open_tally() -> str:
    """Gives a handle out."""
    handle = f"{LABEL}-{uuid.uuid4()}"
    tallies[handle] = 0
    return handle


@server.tool(structured_output=False)
def tally(handle: str) -> str:
    """Counts the calls under a handle."""
    if handle not in tallies:
        raise ValueError(f"{LABEL} knows no {handle}")
    tallies[handle] += 1
    return counted(tallies[handle])


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning")
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
