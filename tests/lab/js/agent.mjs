// A client on the official TypeScript SDK that does what its standard input says.
//
//   node agent.mjs URL [auto|modern] [TOKEN]     (default: the era with sessions, no token)
//
// Prints one JSON line when it is connected, then one for each line it reads:
//   TOOL [ARGUMENTS as JSON]    calls a tool
//   :tools                      lists the tools
//   :session                    tells the session id
//   :version                    tells the revision that was agreed on
//   :reconnect                  connects anew, as at the start
//   :listen                     begins to listen for changes
//   :ended                      waits for the end of that, and tells why it ended
// At the end of its input it ends its session and leaves.
import { createInterface } from 'node:readline';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, era, token] = process.argv.slice(2);
const eras = {
  auto: { versionNegotiation: { mode: 'auto' } },
  modern: { versionNegotiation: { mode: { pin: '2026-07-28' } } },
};
const headers = token ? { authorization: `Bearer ${token}` } : {};
let client;
let transport;
let subscription;
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function connect() {
  client = new Client({ name: 'lab-agent', version: '1.0.0' }, eras[era]);
  transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
  await client.connect(transport);
  return { connected: client.getServerVersion()?.name ?? null, session: transport.sessionId ?? null };
}

async function obey(line) {
  if (line === ':version') return { version: client.getNegotiatedProtocolVersion() ?? null };
  if (line === ':reconnect') {
    await client.close();
    return connect();
  }
  if (line === ':listen') {
    subscription = await client.listen({ toolsListChanged: true });
    return { listening: true };
  }
  if (line === ':ended') return { ended: await subscription.closed };
  if (line === ':session') return { session: transport.sessionId ?? null };
  if (line === ':tools') return { tools: (await client.listTools()).tools.map((tool) => tool.name) };
  const gap = line.indexOf(' ');
  const name = gap < 0 ? line : line.slice(0, gap);
  const args = gap < 0 ? {} : JSON.parse(line.slice(gap + 1));
  const result = await client.callTool({ name, arguments: args });
  return { text: result.content?.[0]?.text ?? null, isError: result.isError === true };
}

say(await connect());
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say(await obey(line));
  } catch (error) {
    say({ failed: String(error?.message ?? error), code: error?.code ?? null });
  }
}
if (transport.sessionId) await transport.terminateSession().catch(() => {});
await client.close();
