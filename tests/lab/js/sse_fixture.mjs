// An MCP server on the official TypeScript SDK 1.x over HTTP+SSE, the transport of 2024-11-05.
//
//   LABEL=v1 PORT=0 node sse_fixture.mjs
//
// Listens on 127.0.0.1 and prints {"port":…}. A GET opens a session, whose messages go to
// /messages. LABEL shows in the tool `whoami`; `counter` counts the calls of its session.
import { createServer } from 'node:http';

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';

const label = process.env.LABEL ?? 'v1';
const transports = new Map();

async function open(response) {
  const transport = new SSEServerTransport('/messages', response);
  const server = new McpServer({ name: `sse-${label}`, version: '1.0.0' });
  let calls = 0;
  const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
  server.registerTool('whoami', {}, async () => text(label));
  server.registerTool('counter', {}, async () => text((calls += 1)));
  transports.set(transport.sessionId, transport);
  response.on('close', () => transports.delete(transport.sessionId));
  await server.connect(transport);
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (request.method === 'GET') return open(response);
  const transport = transports.get(url.searchParams.get('sessionId'));
  if (url.pathname !== '/messages' || !transport) return response.writeHead(404).end();
  return transport.handlePostMessage(request, response);
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});
