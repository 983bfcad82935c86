// What the fixture offers: tools that tell who answered, and the tools, prompts and resources
// which the official conformance suite asks every server for, by name.
import { randomUUID } from 'node:crypto';

import {
  McpServer,
  ResourceTemplate,
  completable,
  fromJsonSchema,
  inputRequired,
} from '@modelcontextprotocol/server';
import * as z from 'zod';

import { promptInRounds, requestState, toolsInRounds } from './rounds.mjs';

const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const SILENCE = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';

const text = (value) => ({ type: 'text', text: value });
const image = { type: 'image', data: PIXEL, mimeType: 'image/png' };
const audio = { type: 'audio', data: SILENCE, mimeType: 'audio/wav' };
const embedded = (uri, mimeType, value) => ({
  type: 'resource',
  resource: { uri, mimeType, text: value },
});
const content = (...parts) => ({ content: parts });
const fromUser = (part) => ({ role: 'user', content: part });
const pause = () => new Promise((resume) => setTimeout(resume, 40));

const READS = { readOnlyHint: true, openWorldHint: false };
const WRITES = { readOnlyHint: false, destructiveHint: false };

// Calls by session, for `counter`.
const counts = new Map();
// The same by handle, for clients without a session: `open_tally` gives a handle out, `tally` counts.
const tallies = new Map();

/**
 * A server of its own for one session (or, without sessions, one request). `news` tells those who
 * listen without a session that a list has changed.
 */
export function catalogue(label, era, news) {
  const server = new McpServer(
    { name: `fixture-${label}`, version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
        completions: {},
      },
      requestState,
    },
  );
  const tool = (name, run, { input, annotations } = {}) => {
    const description = `${name}, of the fixture`;
    const config = { description, annotations, ...(input && { inputSchema: input }) };
    server.registerTool(name, config, input ? run : (context) => run({}, context));
  };

  whoAndWhat(tool, label);
  // Without sessions a server is made for each request; for crowds it has to be cheap.
  if (process.env.BRIEF) return server;
  plainAnswers(tool);
  talkingTools(tool);
  askingTools(tool);
  toolsInRounds(tool);
  changingTools(tool, server, era === 'legacy' ? undefined : news);
  resources(server);
  prompts(server);
  promptInRounds(server);
  if (era === 'legacy') {
    server.server.setRequestHandler('resources/subscribe', () => ({}));
    server.server.setRequestHandler('resources/unsubscribe', () => ({}));
  }
  return server;
}

function whoAndWhat(tool, label) {
  tool('whoami', () => content(text(label)), { annotations: READS });
  tool(
    'counter',
    (_, context) => {
      const next = (counts.get(context.sessionId) ?? 0) + 1;
      counts.set(context.sessionId, next);
      return content(text(String(next)));
    },
    { annotations: WRITES },
  );
  // Both at once: who answers, and the calls of the session so far.
  tool(
    'visit',
    (_, context) => {
      const visits = (counts.get(context.sessionId) ?? 0) + 1;
      counts.set(context.sessionId, visits);
      return content(text(JSON.stringify({ label, count: visits })));
    },
    { annotations: WRITES },
  );
  tool(
    'open_tally',
    () => {
      const handle = `${label}-${randomUUID()}`;
      tallies.set(handle, 0);
      return content(text(handle));
    },
    { annotations: WRITES },
  );
  tool(
    'tally',
    ({ handle }) => {
      if (!tallies.has(handle)) return { ...content(text(`${label} knows no ${handle}`)), isError: true };
      tallies.set(handle, tallies.get(handle) + 1);
      return content(text(JSON.stringify({ label, count: tallies.get(handle) })));
    },
    { input: z.object({ handle: z.string() }), annotations: WRITES },
  );
  const region = { type: 'string', 'x-mcp-header': 'Region' };
  tool('route_by_region', (given) => content(text(`${label} for ${given.region}`)), {
    input: fromJsonSchema({ type: 'object', properties: { region }, required: ['region'] }),
    annotations: READS,
  });
  const faulty = process.env.FAULTY === '1';
  tool('work', () => ({ ...content(text(`work by ${label}`)), isError: faulty }), {
    annotations: READS,
  });
}

function plainAnswers(tool) {
  tool('test_simple_text', () => content(text('This is a simple text response for testing.')));
  tool('test_image_content', () => content(image));
  tool('test_audio_content', () => content(audio));
  tool('test_embedded_resource', () =>
    content(
      embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
    ));
  tool('test_multiple_content_types', () =>
    content(
      text('Multiple content types test:'),
      image,
      embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
    ));
  tool('test_error_handling', () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  const address = {
    $anchor: 'addressDef',
    type: 'object',
    properties: { street: { type: 'string' }, city: { type: 'string' } },
  };
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: { address },
    properties: {
      name: { type: 'string' },
      address: { $ref: '#/$defs/address' },
      contactMethod: { type: 'string', enum: ['phone', 'email'] },
      phone: { type: 'string' },
      email: { type: 'string' },
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false,
  };
  tool('json_schema_2020_12_tool', (given) => content(text(JSON.stringify(given))), {
    input: fromJsonSchema(schema),
  });
}

function talkingTools(tool) {
  const log = async (_, context) => {
    for (const step of ['execution started', 'processing data', 'execution completed']) {
      await context.mcpReq.log('info', `Tool ${step}`);
      await pause();
    }
    return content(text('logged'));
  };
  tool('test_tool_with_logging', log);
  tool('test_logging_tool', log);
  tool('test_tool_with_progress', async (_, context) => {
    const progressToken = context.mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined) {
        const params = { progressToken, progress, total: 100 };
        await context.mcpReq.notify({ method: 'notifications/progress', params });
      }
      await pause();
    }
    return content(text('progressed'));
  });
  tool('test_reconnection', async (_, context) => {
    context.http?.closeSSE?.();
    await pause();
    await pause();
    return content(text('Reconnection test completed.'));
  });
}

// Tools that tell everybody who listens that a list has changed.
function changingTools(tool, server, news) {
  tool('test_trigger_tool_change', () => {
    if (news) news().toolsChanged();
    else server.sendToolListChanged();
    return content(text('the tools changed'));
  });
  tool('test_trigger_prompt_change', () => {
    if (news) news().promptsChanged();
    else server.sendPromptListChanged();
    return content(text('the prompts changed'));
  });
}

// Tools that ask the client back. The SDK puts the question the way the era wants it: as a
// request of the server's within a session, as an unfinished result without one.
function askingTools(tool) {
  const ask = (name, question, finish, input) =>
    tool(
      name,
      (given, context) => {
        const answer = context.mcpReq.inputResponses?.asked;
        if (answer) return content(text(finish(answer)));
        return inputRequired({ inputRequests: { asked: question(given) } });
      },
      { input },
    );
  const form = (message, properties, required) =>
    inputRequired.elicit({
      message,
      requestedSchema: { type: 'object', properties, ...(required && { required }) },
    });
  const said = (answer) => `action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`;

  ask(
    'test_sampling',
    ({ prompt }) =>
      inputRequired.createMessage({ messages: [fromUser(text(prompt))], maxTokens: 100 }),
    (answer) => `LLM response: ${answer.content?.text ?? JSON.stringify(answer.content)}`,
    z.object({ prompt: z.string() }),
  );
  const person = {
    username: { type: 'string', description: "User's response" },
    email: { type: 'string', description: "User's email address" },
  };
  ask(
    'test_elicitation',
    ({ message }) => form(message, person, ['username', 'email']),
    (answer) => `User response: ${said(answer)}`,
    z.object({ message: z.string() }),
  );
  const finished = (answer) => `Elicitation completed: ${said(answer)}`;
  const defaults = {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  };
  ask('test_elicitation_sep1034_defaults', () => form('Please look', defaults), finished);
  ask('test_elicitation_sep1330_enums', () => form('Please choose', choices()), finished);
}

function choices() {
  const titled = (kind) =>
    ['First', 'Second', 'Third'].map((name, i) => ({ const: `value${i + 1}`, title: `${name} ${kind}` }));
  const plain = ['option1', 'option2', 'option3'];
  return {
    untitledSingle: { type: 'string', enum: plain },
    titledSingle: { type: 'string', oneOf: titled('Option') },
    legacyEnum: {
      type: 'string',
      enum: ['opt1', 'opt2', 'opt3'],
      enumNames: ['Option One', 'Option Two', 'Option Three'],
    },
    untitledMulti: { type: 'array', items: { type: 'string', enum: plain } },
    titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
  };
}

function resources(server) {
  const fixed = (name, uri, mimeType, body) =>
    server.registerResource(name, uri, { description: name, mimeType }, () => ({
      contents: [{ uri, mimeType, ...body }],
    }));
  fixed('static-text', 'test://static-text', 'text/plain', {
    text: 'This is the content of the static text resource.',
  });
  fixed('static-binary', 'test://static-binary', 'image/png', { blob: PIXEL });
  fixed('watched', 'test://watched-resource', 'text/plain', { text: 'watched' });
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  const mimeType = 'application/json';
  server.registerResource('template', template, { description: 'by id', mimeType }, (uri, { id }) => {
    const found = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
    return { contents: [{ uri: uri.href, mimeType, text: found }] };
  });
}

function prompts(server) {
  const messages = (...parts) => ({ messages: parts.map(fromUser) });
  server.registerPrompt('test_simple_prompt', { description: 'plain' }, () =>
    messages(text('This is a simple prompt for testing.')));
  const starts = (typed) => ['paris', 'park', 'party'].filter((word) => word.startsWith(typed));
  const two = z.object({ arg1: completable(z.string(), starts), arg2: z.string() });
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'with arguments', argsSchema: two },
    ({ arg1, arg2 }) => messages(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  );
  const one = z.object({ resourceUri: z.string() });
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'with a resource', argsSchema: one },
    ({ resourceUri }) =>
      messages(
        embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
        text('Please process the embedded resource above.'),
      ),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'with an image' }, () =>
    messages(image, text('Please analyze the image above.')));
}
