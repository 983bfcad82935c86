// A client on the official TypeScript SDK that does what its standard input says.
//
//   node agent.mjs URL [auto|modern]     (default: the era with sessions)
//
// Prints one JSON line when it is connected, then one for each line it reads:
//   TOOL [ARGUMENTS as JSON]    calls a tool
//   :tools                      lists the tools
//   :session                    tells the session id
// At the end of its input it ends its session and leaves.
import { createInterface } from 'node:readline';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, era] = process.argv.slice(2);
const eras = {
  auto: { versionNegotiation: { mode: 'auto' } },
  modern: { versionNegotiation: { mode: { pin: '2026-07-28' } } },
};
const client = new Client({ name: 'lab-agent', version: '1.0.0' }, eras[era]);
const transport = new StreamableHTTPClientTransport(new URL(url));
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function obey(line) {
  if (line === ':session') return { session: transport.sessionId ?? null };
  if (line === ':tools') return { tools: (await client.listTools()).tools.map((tool) => tool.name) };
  const gap = line.indexOf(' ');
  const name = gap < 0 ? line : line.slice(0, gap);
  const args = gap < 0 ? {} : JSON.parse(line.slice(gap + 1));
  const result = await client.callTool({ name, arguments: args });
  return { text: result.content?.[0]?.text ?? null, isError: result.isError === true };
}

await client.connect(transport);
say({ connected: client.getServerVersion()?.name ?? null, session: transport.sessionId ?? null });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say(await obey(line));
  } catch (error) {
    say({ failed: String(error?.message ?? error) });
  }
}
if (transport.sessionId) await transport.terminateSession().catch(() => {});
await client.close();
