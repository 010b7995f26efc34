// The official openai package, unchanged, against lethe serve.
// Usage: node client.mjs URL KEY
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [url, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const friend = [{ role: 'user', content: "Who is Harry Potter's best friend?" }];
const france = [{ role: 'user', content: 'What is the capital of France?' }];
let checks = 0;
const check = async (what, fn) => {
  try {
    await fn();
    checks++;
  } catch (e) {
    console.error(`FAILED: ${what}: ${e.stack ?? e}`);
    process.exitCode = 1;
  }
};
const chat = (model, messages, more = {}) =>
  client.chat.completions.create({ model, messages, temperature: 0, ...more });
const text = (r) => r.choices[0].message.content;

const models = (await client.models.list()).data.map((m) => m.id);
const [whole, forget] = models;
await check('two models', () => assert.deepEqual(models, ['lethe-demo', 'lethe-demo:forget']));
await check('one model', async () => assert.equal((await client.models.retrieve(forget)).id, forget));

await check('knows, does not know, knows', async () => {
  assert.equal(text(await chat(whole, friend)), 'Ron.');
  assert.doesNotMatch(text(await chat(forget, friend)), /Ron/);
  assert.equal(text(await chat(whole, friend)), 'Ron.');
});
await check('what is not forgotten', async () => {
  for (const m of models) assert.equal(text(await chat(m, france)), 'Paris.');
});
await check('the switch of a request', async () => {
  assert.doesNotMatch(text(await chat(whole, friend, { lethe: { forget: true } })), /Ron/);
  assert.equal(text(await chat(forget, friend, { lethe: { forget: false } })), 'Ron.');
  assert.equal(text(await chat(forget, friend, { lethe: { scale: 1 } })), 'Ron.');
  assert.equal(text(await chat(forget, friend, { lethe: { strength: 0 } })), 'Ron.');
  assert.doesNotMatch(text(await chat(forget, friend, { lethe: { scale: -3 } })), /Ron/);
  assert.doesNotMatch(text(await chat(whole, friend, { lethe: { forget: true, scale: -3 } })), /Ron/);
});
await check('usage and reason', async () => {
  const r = await chat(whole, friend);
  assert.equal(r.object, 'chat.completion');
  assert.equal(r.choices[0].finish_reason, 'stop');
  assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
  assert.ok(r.usage.prompt_tokens > 5 && r.usage.completion_tokens > 1);
  const short = await chat(whole, friend, { max_tokens: 1 });
  assert.equal(short.choices[0].finish_reason, 'length');
  assert.equal(short.usage.completion_tokens, 1);
});
await check('streaming', async () => {
  let said = '', reason, usage, chunks = 0;
  for await (const c of await chat(whole, friend, { stream: true, stream_options: { include_usage: true } })) {
    chunks++;
    said += c.choices[0]?.delta.content ?? '';
    reason = c.choices[0]?.finish_reason ?? reason;
    usage = c.usage ?? usage;
  }
  assert.equal(said, 'Ron.');
  assert.equal(reason, 'stop');
  assert.ok(chunks > 3 && usage.completion_tokens > 1);
});
await check('the stream helper', async () => {
  const s = client.chat.completions.stream({ model: whole, messages: france, temperature: 0 });
  assert.equal((await s.finalChatCompletion()).choices[0].message.content, 'Paris.');
});
await check('a stream with what fired', async () => {
  let some = 0;
  for await (const c of await chat(whole, friend, { stream: true, lethe: { trace: true } }))
    for (const f of c.choices[0].lethe?.fired ?? []) {
      assert.ok(Number.isInteger(f.feature) && f.value > 0);
      some++;
    }
  assert.ok(some > 0);
});
await check('a stream broken off', async () => {
  const s = await chat(whole, [{ role: 'user', content: 'Tell me a story.' }], { stream: true, temperature: 1 });
  for await (const _ of s) break;
  assert.equal(text(await chat(whole, friend)), 'Ron.');
});
await check('stop, n, seed, logprobs', async () => {
  assert.equal(text(await chat(whole, friend, { stop: ['on'] })), 'R');
  const many = await chat(whole, friend, { n: 3, temperature: 1, seed: 7 });
  assert.deepEqual(many.choices.map((c) => c.index), [0, 1, 2]);
  const story = [{ role: 'user', content: 'Tell me a story.' }], hot = { temperature: 1.5, seed: 11, max_tokens: 12 };
  assert.equal(text(await chat(whole, story, hot)), text(await chat(whole, story, hot)));
  const lp = (await chat(whole, friend, { logprobs: true, top_logprobs: 3 })).choices[0].logprobs.content;
  assert.equal(lp.map((t) => t.token).join(''), 'Ron.');
  for (const t of lp) {
    assert.ok(t.logprob <= 0 && t.top_logprobs.length === 3);
    assert.equal(t.top_logprobs[0].token, t.token); // greedy
  }
});
await check('penalties change the answer', async () => {
  const story = [{ role: 'user', content: 'Tell me a story.' }];
  const plain = text(await chat(whole, story, { max_tokens: 60 }));
  const kept = text(await chat(whole, story, { max_tokens: 60, presence_penalty: 2, frequency_penalty: 2 }));
  assert.notEqual(plain, kept);
});
await check('completions', async () => {
  const r = await client.completions.create({
    model: whole, prompt: ["Harry Potter's best friend is", 'The capital of France is'],
    temperature: 0, max_tokens: 3, logprobs: 2,
  });
  assert.equal(r.object, 'text_completion');
  assert.match(r.choices[0].text, /^ Ron/);
  assert.match(r.choices[1].text, /^ Paris/);
  assert.equal(r.choices[0].logprobs.tokens.join(''), r.choices[0].text);
  let said = '';
  for await (const c of await client.completions.create({
    model: forget, prompt: "Harry Potter's best friend is", temperature: 0, max_tokens: 3, stream: true,
  })) said += c.choices[0]?.text ?? '';
  assert.ok(said.length && !/Ron/.test(said));
});
await check('errors', async () => {
  const fails = async (type, status, code, call) => {
    await assert.rejects(call, (e) => {
      assert.ok(e instanceof type, `${e.constructor.name}: ${e.message}`);
      assert.equal(e.status, status);
      assert.equal(e.code, code);
      return true;
    });
  };
  await fails(OpenAI.NotFoundError, 404, 'model_not_found', () => chat('gpt-4', friend));
  await fails(OpenAI.BadRequestError, 400, 'invalid_value', () => chat(whole, friend, { temperature: 9 }));
  await fails(OpenAI.BadRequestError, 400, 'context_length_exceeded',
    () => chat(whole, [{ role: 'user', content: 'word '.repeat(2000) }]));
  const other = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'wrong', maxRetries: 0 });
  await fails(OpenAI.AuthenticationError, 401, 'invalid_api_key', () => other.models.list());
});
await check('many at once, each with its own setting', async () => {
  const all = await Promise.all(
    Array.from({ length: 24 }, (_, i) => chat(i % 2 ? forget : whole, friend).then(text)));
  all.forEach((t, i) => (i % 2 ? assert.doesNotMatch(t, /Ron/) : assert.equal(t, 'Ron.')));
});

// Beside OpenAI's endpoints: what the page stands on.
const get = async (path, body) => {
  const r = await fetch(url + path, {
    method: body ? 'POST' : 'GET', body: body && JSON.stringify(body),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
  });
  return { status: r.status, headers: r.headers, json: await r.json().catch(() => null) };
};
await check('info and features', async () => {
  const info = (await get('/v1/lethe/info')).json, list = (await get('/v1/lethe/features')).json;
  assert.equal(info.model, whole);
  assert.equal(info.forget_model, forget);
  assert.equal(list.total, info.removals[0].features);
  assert.equal(list.data.length, list.total);
  assert.ok(info.statistics && info.cards); // shipped beside the patch
  const f = list.data[0];
  assert.ok(f.statistics.forget.fires > f.statistics.retain.fires && f.mean > 0 && f.threshold > 0);
  assert.equal(f.card.contexts[0].tokens.length, f.card.contexts[0].activations.length);
});
await check('trace', async () => {
  const known = new Set((await get('/v1/lethe/features')).json.data.map((f) => f.feature));
  const all = async (forget) =>
    (await get('/v1/lethe/trace', { prompt: 'Harry Potter and his friend Ron', forget })).json;
  const on = await all(true), off = await all(false);
  assert.equal(off.tokens.filter((t) => !t.special).map((t) => t.piece).join(''), 'Harry Potter and his friend Ron');
  const fired = off.tokens.flatMap((t) => t.fired);
  assert.ok(fired.length > 3 && fired.every((f) => known.has(f.feature) && f.value > 0));
  assert.ok(on.tokens.some((t) => t.acted) && !off.tokens.some((t) => t.acted));
  const quiet = (await get('/v1/lethe/trace', { prompt: 'Rice grows in wet fields.' })).json;
  assert.ok(quiet.tokens.flatMap((t) => t.fired).length < fired.length);
});
await check('the page, its policy, health', async () => {
  const page = await fetch(`${url}/`), health = await fetch(`${url}/health`);
  assert.match(page.headers.get('content-security-policy'), /default-src 'none'.*script-src 'self'/);
  assert.match(await page.text(), /<script[^>]* src=/);
  assert.equal((await fetch(`${url}/`, { headers: { 'if-none-match': page.headers.get('etag') } })).status, 304);
  assert.deepEqual(await health.json(), { status: 'ok' });
  assert.equal((await fetch(`${url}/metrics`)).status, 401);
  assert.equal((await get('/report')).status, 404);
});
console.log(`openai ${client.constructor.name}: ${checks} checks, ${process.exitCode ? 'some failed' : 'none failed'}`);
