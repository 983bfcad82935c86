// An MCP server on the official TypeScript SDK, for both eras of the protocol, on one path:
// sessions (2025-03-26 to 2025-11-25) and the stateless wire of 2026-07-28.
//
//   LABEL=v1 PORT=0 node fixture.mjs
//
// Listens on 127.0.0.1 and prints {"port":…}. Every answer carries `x-fixture: LABEL`. What
// it offers is in catalogue.mjs; LABEL shows in the tool `whoami`, and with FAULTY=1 the tool
// `work` answers `isError`. With ELDER=1 it only knows sessions, with BRIEF=1 few tools.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import {
  NodeStreamableHTTPServerTransport,
  hostHeaderValidation,
  originValidation,
  toNodeHandler,
} from '@modelcontextprotocol/node';
import { createMcpHandler, isLegacyRequest } from '@modelcontextprotocol/server';

import { catalogue } from './catalogue.mjs';

const label = process.env.LABEL ?? 'v1';
const loopback = ['localhost', '127.0.0.1', '[::1]'];
const validHost = hostHeaderValidation(loopback);
const validOrigin = originValidation(loopback);
const modern = createMcpHandler(() => catalogue(label, 'modern', () => modern.notify), {
  legacy: 'reject',
  onerror() {},
});
const stateless = toNodeHandler(modern);
const transports = new Map();

// Remembers a session's events, so that a client may resume after its last one.
class Memory {
  #events = [];

  async storeEvent(stream, message) {
    const id = `${stream}_${this.#events.length}`;
    this.#events.push({ id, stream, message });
    return id;
  }

  async getStreamIdForEventId(id) {
    return this.#events.find((event) => event.id === id)?.stream;
  }

  async replayEventsAfter(lastId, { send }) {
    const last = this.#events.findIndex((event) => event.id === lastId);
    if (last < 0) return '';
    const { stream } = this.#events[last];
    for (const event of this.#events.slice(last + 1)) {
      if (event.stream === stream) await send(event.id, event.message);
    }
    return stream;
  }
}

function refuse(response, status, code, message) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}

async function bodyOf(request) {
  if (request.method !== 'POST') return undefined;
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

function speaksLegacy(request, body) {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) headers.set(name, String(value));
  const probe = { method: request.method, headers, body: body && JSON.stringify(body) };
  return isLegacyRequest(new Request(`http://127.0.0.1${request.url}`, probe), body);
}

async function open() {
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: () => `${label}-${randomUUID()}`,
    eventStore: new Memory(),
    retryInterval: 300,
    onsessioninitialized: (id) => void transports.set(id, transport),
    onsessionclosed: (id) => void transports.delete(id),
  });
  await catalogue(label, 'legacy').connect(transport);
  return transport;
}

async function stateful(request, response, body) {
  const id = request.headers['mcp-session-id'];
  const opens = [body].flat().some((message) => message?.method === 'initialize');
  if (id === undefined && !opens) return refuse(response, 400, -32000, 'a session id is needed');
  const transport = id === undefined ? await open() : transports.get(id);
  if (!transport) return refuse(response, 404, -32001, 'no such session');
  return transport.handleRequest(request, response, body);
}

async function respond(request, response) {
  response.setHeader('x-fixture', label);
  if (!request.url.startsWith('/mcp')) return refuse(response, 404, -32601, 'no such path');
  if (!validHost(request, response) || !validOrigin(request, response)) return undefined;
  let body;
  try {
    body = await bodyOf(request);
  } catch {
    return refuse(response, 400, -32700, 'not JSON');
  }
  const legacy = Boolean(process.env.ELDER) || (await speaksLegacy(request, body));
  return legacy ? stateful(request, response, body) : stateless(request, response, body);
}

const server = createServer((request, response) => {
  respond(request, response).catch((error) => {
    console.error(error);
    if (response.headersSent) response.end();
    else refuse(response, 500, -32603, 'the fixture failed');
  });
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(JSON.stringify({ port: server.address().port }));
});
