// Many clients on an official TypeScript SDK in one process, each of which calls a tool again and
// again and counts what became of it.
//
//   node crowd.mjs URL 1|2 legacy|modern       (the SDK's major version, the era)
//
// What it is told on its standard input, and what it says, is in tests/lab/crowd.rs.
import { createInterface } from 'node:readline';

const [url, sdk, era] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } = await (sdk === '1' ? first() : second());

async function first() {
  const client = await import('@modelcontextprotocol/sdk/client/index.js');
  const transport = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  return { ...client, ...transport };
}

function second() {
  return import('@modelcontextprotocol/client');
}

const options = era === 'modern' ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : undefined;
const PAUSE_MS = 500;
// A busy machine is slow, not wrong.
const PATIENCE = { timeout: 240_000 };
// A session that fails this often in a row is lost.
const LOST = 3;
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

let going = false;
let opened = 0;
let wakeUp = () => {};
const members = [];
const total = { calls: 0, moved: 0, slowest_ms: 0, failed: [], broken: [] };

class Member {
  constructor() {
    this.number = opened++;
    this.home = null;
    this.count = 0;
    this.fine = 0;
    this.failing = 0;
    this.leaving = false;
    this.loop = Promise.resolve();
  }

  async open() {
    const headers = { authorization: `Bearer ${process.pid}-${this.number}` };
    this.client = new Client({ name: 'lab-crowd', version: '1.0.0' }, options);
    this.transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
    await this.client.connect(this.transport);
    await this.step();
    return this;
  }

  async call(name, args = {}) {
    const wanted = { name, arguments: args };
    const result = await (sdk === '1'
      ? this.client.callTool(wanted, undefined, PATIENCE)
      : this.client.callTool(wanted, PATIENCE));
    return { text: result.content?.[0]?.text ?? '', isError: result.isError === true };
  }

  // One call, and whether it was answered where the calls before were.
  async step() {
    if (era === 'modern' && !this.handle) this.handle = (await this.call('open_tally')).text;
    const said = await this.call(...(era === 'modern' ? ['tally', { handle: this.handle }] : ['visit']));
    if (said.isError && era === 'modern') {
      // Somebody else's server: it is begun anew there.
      this.handle = (await this.call('open_tally')).text;
      return this.look(await this.call('tally', { handle: this.handle }));
    }
    return this.look(said);
  }

  look(said) {
    if (said.isError) throw new Error(`isError: ${said.text}`);
    const { label, count } = JSON.parse(said.text);
    const moved = this.home !== null && label !== this.home;
    // A call that failed may have been counted or not.
    const right = moved || this.home === null
      ? count === 1
      : count > this.count && count <= this.count + 1 + this.failing;
    if (moved) total.moved += 1;
    if (!right) total.broken.push({ session: this.number, home: this.home, was: this.count, label, count });
    Object.assign(this, { home: label, count, fine: this.fine + 1, failing: 0 });
    total.calls += 1;
  }

  begin() {
    this.loop = this.#run();
  }

  async #run() {
    while (going && !this.leaving) {
      const begun = performance.now();
      try {
        await this.step();
        total.slowest_ms = Math.max(total.slowest_ms, Math.round(performance.now() - begun));
      } catch (error) {
        this.failing += 1;
        const what = String(error?.message ?? error);
        total.failed.push({ session: this.number, home: this.home, what, code: error?.code ?? null });
      }
      wakeUp();
      await pause(PAUSE_MS);
    }
  }

  async leave() {
    this.leaving = true;
    await this.loop;
    if (this.transport.sessionId) await this.transport.terminateSession();
    await this.client.close();
  }
}

async function join(count) {
  const joined = await Promise.all(Array.from({ length: count }, () => new Member().open()));
  members.push(...joined);
  if (going) joined.forEach((member) => member.begin());
}

// Until each member has been served this often from now on, or is lost.
async function rounds(count) {
  const wanted = new Map(members.map((member) => [member, member.fine + count]));
  const due = ([member, fine]) => member.fine < fine && member.failing < LOST;
  while ([...wanted].some(due)) await new Promise((resume) => (wakeUp = resume));
}

function report() {
  const homes = {};
  for (const { home } of members) homes[home] = (homes[home] ?? 0) + 1;
  const lost = members.filter((member) => member.failing >= LOST).length;
  return { sessions: members.length, homes, lost, ...total };
}

const verbs = {
  join: (count) => join(Number(count)),
  go() {
    going = true;
    members.forEach((member) => member.begin());
  },
  async hold() {
    going = false;
    await Promise.all(members.map((member) => member.loop));
  },
  rounds: (count) => rounds(Number(count)),
  async renew(count) {
    await Promise.all(members.splice(0, Number(count)).map((member) => member.leave()));
    await join(Number(count));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, count] = line.split(' ');
  try {
    await verbs[verb](count);
    say(report());
  } catch (error) {
    say({ error: `${line}: ${error?.stack ?? error}` });
  }
}
await verbs.hold();
await Promise.all(members.map((member) => member.leave()));
