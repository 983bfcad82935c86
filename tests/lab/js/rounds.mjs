// Tools and a prompt of the fixture that come to their end in rounds: each answers with what it
// still has to know, and finishes when a later call brings the answers. In the era without
// sessions such a question is an unfinished result; within a session the SDK asks the client.
//
// The official conformance suite asks every server for them by name. What a tool has to remember
// between two rounds is in its request state, sealed with a key that this process alone has: a
// round that reaches another process is refused there.
import { randomBytes } from 'node:crypto';

import { createRequestStateCodec, inputRequired } from '@modelcontextprotocol/server';

const codec = createRequestStateCodec({ key: randomBytes(32) });

/** What a server has to know to read the request state of these tools. */
export const requestState = { verify: codec.verify };

const text = (value) => ({ content: [{ type: 'text', text: value }] });

const form = (message, field, type) =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties: { [field]: { type } }, required: [field] },
  });
const sampling = (prompt) =>
  inputRequired.createMessage({
    messages: [{ role: 'user', content: { type: 'text', text: prompt } }],
    maxTokens: 50,
  });
const NAME = { user_name: form('What is your name?', 'name', 'string') };
const CAPITAL = { capital_question: sampling('What is the capital of France?') };
const ROOTS = { client_roots: inputRequired.listRoots() };

// Whether this is an answer of the kind that the question asks for; nobody else has checked it.
function answers(question, given) {
  if (given === null || typeof given !== 'object') return false;
  switch (question.method) {
    case 'roots/list':
      return Array.isArray(given.roots);
    case 'sampling/createMessage':
      return given.content !== undefined;
    default: {
      const accepted = given.content !== null && typeof given.content === 'object';
      return typeof given.action === 'string' && (given.action !== 'accept' || accepted);
    }
  }
}

const given = (context, name) => context.mcpReq.inputResponses?.[name];
const accepted = (context, name) => {
  const answer = given(context, name);
  return answer?.action === 'accept' ? answer.content : undefined;
};
const complete = (context, questions) =>
  Object.entries(questions).every(([name, question]) => answers(question, given(context, name)));
const able = (context) =>
  context.mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {};

export function toolsInRounds(tool) {
  const once = (name, questions, finish, remembers = false) =>
    tool(name, async (_, context) => {
      if (complete(context, questions)) return finish((question) => given(context, question));
      const state = remembers ? { requestState: await codec.mint({ round: 1 }) } : {};
      return inputRequired({ inputRequests: questions, ...state });
    });
  const greet = (answer) => text(`Hello, ${answer('user_name').content?.name ?? 'whoever you are'}!`);

  once('test_input_required_result_elicitation', NAME, greet);
  once('test_streaming_elicitation', NAME, greet);
  once('test_input_required_result_sampling', CAPITAL, (answer) =>
    text(answer('capital_question').content?.text ?? 'nothing was said'));
  once('test_input_required_result_list_roots', ROOTS, (answer) =>
    text(answer('client_roots').roots.map((root) => root.uri).join(' ')));
  const several = { ...NAME, greeting: sampling('Greet somebody'), ...ROOTS };
  once('test_input_required_result_multiple_inputs', several, () => text('all are here'), true);

  for (const name of ['request_state', 'tampered_state']) remembering(tool, name);
  twoSteps(tool);
  byAbility(tool);
}

function remembering(tool, name) {
  const questions = { confirm: form('Is that right?', 'ok', 'boolean') };
  tool(`test_input_required_result_${name}`, async (_, context) => {
    const round = context.mcpReq.requestState()?.round;
    if (round === 1 && complete(context, questions)) return text('state-ok');
    return inputRequired({ inputRequests: questions, requestState: await codec.mint({ round: 1 }) });
  });
}

function twoSteps(tool) {
  const first = { step1: form('Step 1: What is your name?', 'name', 'string') };
  const second = { step2: form('Step 2: Which color do you like?', 'color', 'string') };
  tool('test_input_required_result_multi_round', async (_, context) => {
    const state = context.mcpReq.requestState();
    const [one, two] = [accepted(context, 'step1'), accepted(context, 'step2')];
    if (state?.step === 2 && two) return text(`${state.name} likes ${two.color}`);
    const goesOn = state?.step === 1 && one;
    const next = goesOn ? { step: 2, name: one.name } : { step: 1 };
    return inputRequired({
      inputRequests: goesOn ? second : first,
      requestState: await codec.mint(next),
    });
  });
}

// Asks for no more than the client has said that it can answer.
function byAbility(tool) {
  tool('test_input_required_result_capabilities', (_, context) => {
    const { elicitation, sampling: samples } = able(context);
    const questions = { ...(elicitation && NAME), ...(samples && CAPITAL) };
    if (complete(context, questions)) return text('fine');
    return inputRequired({ inputRequests: questions });
  });
  // Where the client cannot be sampled, the SDK refuses to ask and says so.
  tool('test_missing_capability', (_, context) =>
    able(context).sampling ? text('it can') : inputRequired({ inputRequests: CAPITAL }));
}

export function promptInRounds(server) {
  const questions = { user_context: form('What is it for?', 'context', 'string') };
  server.registerPrompt('test_input_required_result_prompt', { description: 'asks first' }, (context) => {
    const known = accepted(context, 'user_context');
    if (!known) return inputRequired({ inputRequests: questions });
    const content = { type: 'text', text: `It is for ${known.context}` };
    return { messages: [{ role: 'user', content }] };
  });
}
