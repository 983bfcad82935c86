// A client on the official TypeScript SDK 1.x over HTTP+SSE that does what its standard input says.
//
//   node sse_agent.mjs URL
//
// Prints one JSON line when it is connected, then one for each line it reads: the name of a tool, which
// it calls. At the end of its input it leaves.
import { createInterface } from 'node:readline';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const client = new Client({ name: 'lab-sse-agent', version: '1.0.0' });
await client.connect(new SSEClientTransport(new URL(process.argv[2])));
say({ connected: client.getServerVersion()?.name ?? null });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const result = await client.callTool({ name: line, arguments: {} });
    say({ text: result.content?.[0]?.text ?? null, isError: result.isError === true });
  } catch (error) {
    say({ failed: String(error?.message ?? error), code: error?.code ?? null });
  }
}
await client.close();
