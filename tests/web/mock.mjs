// SPDX-License-Identifier: MIT
// A server as docs/serve.md has it, without a model: the page's backend where lethe's own would take long
// or could not be made to fail. Answers are scripted: whole, it knows; forgetting, it does not.
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
const WORDS = [' Harry', ' Ron', ' Hogwarts', ' wand', ' owl', ' Snape', ' Quidditch', ' Potter'];

function feature(i) {
  const word = WORDS[i % WORDS.length], peak = 30 - i / 4;
  return {
    feature: 2606 - 17 * i, removal: 0, layer: 2, rank: i + 1, score: 1 / (i + 2), ratio: 90 - i, mean: 11 - i / 10, threshold: 0.5 + i / 100,
    statistics: { forget: { fires: 7480, freq: 0.07 / (i + 1), mean: 11 }, near: i % 3 ? { fires: 481, freq: 0.004, mean: 6 } : null, retain: { fires: 98, freq: 0.0008, mean: 4 } },
    card: i % 7 === 6 ? null : {
      share: 0.1 / (i + 1), promotes: WORDS.map((token, j) => ({ token: j === i % 8 ? word : token, id: j, logit: 9 - j })),
      suppresses: [{ token: '\n', id: 1, logit: -8 }, { token: '<b>am', id: 2, logit: -7 }],
      histogram: { width: 2, forget: [44, 517, 1162, 300, 20, 0, 0], near: [10, 78, 30, 2, 0, 0, 0], retain: [5, 44, 3, 0, 0, 0, 0] },
      contexts: ['forget', 'forget', 'near'].map((role) => ({ role, peak, at: 3, tokens: ['He', ' asked', ' the', word, ' of', '<img src=x>', ' the', ' north'], activations: [0, 0, 0, peak, 0, peak / 3, 0, 0] })),
    },
  };
}

// start(SOURCE_TREE, {key, removal}) -> {url, asked, close}; asked: bodies of the requests for answers.
export async function start(source, { key = '', removal = true } = {}) {
  const dist = join(source, 'web/dist');
  const files = new Map(readdirSync(dist).map((n) => [`/${n}`, readFileSync(join(dist, n))]));
  const header = readFileSync(join(source, 'src/front/web/assets.h'), 'utf8');
  const policy = (name) => [...header.split(`#define ${name}`)[1].split('#')[0].matchAll(/"([^"]*)"/g)].map((m) => m[1]).join('');
  const features = removal ? Array.from({ length: 90 }, (_, i) => feature(i)) : [];
  const info = {
    object: 'lethe.info', version: '0', model: 'lethe-demo', forget_model: removal ? 'lethe-demo:forget' : null, architecture: 'llama', layers: 6,
    width: 192, vocabulary: 2048, parameters: 3146112, context: 256, chat_template: true, report: removal, cards: removal, statistics: removal, slots: 8, queue: 64,
    removals: removal ? [{ id: 'lethe-demo:forget', name: 'patch', layer: 2, hook: 'post', method: 'direction', strength: 0.25, text: 'direction, strength 0.25, gated; 90 features; compact gate', features: 90, gate: 'compact', guard: null }] : [],
    limits: { body_bytes: 1048576, prompt_tokens: 255, seconds: 120 },
  };
  const asked = [];
  const fired = (piece) => (/Harry|Ron|Potter/.test(piece) ? [{ feature: 2606, removal: 0, value: 11.25 }, { feature: 2589, removal: 0, value: 3.5 }] : []);

  const json = (res, status, o) => { res.writeHead(status, { 'Content-Type': 'application/json' }); res.end(JSON.stringify(o)); };
  const wrong = (res, status, message, code) => json(res, status, { error: { message, type: 'invalid_request_error', param: null, code } });

  async function chat(res, body) {
    const question = body.messages.at(-1).content, forget = body.model.endsWith(':forget');
    asked.push(body);
    if (/too long/.test(question) && body.messages.length > 1) return wrong(res, 400, 'the prompt has 300 tokens, the context 256', 'context_length_exceeded');
    if (/queue/.test(question)) return wrong(res, 429, 'the queue is full: try again in 1 s', 'queue_full');
    const text = /slow/.test(question) ? 'la '.repeat(400)
      : /script/.test(question) ? 'Look: <script>alert(1)</script> <b>bold</b> & <img src=x onerror=alert(1)>'
        : forget ? 'I do not know who that is. Perhaps a gardener.' : 'The best friend of Harry Potter is Ron Weasley, naturally.';
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const put = (o) => res.write(`data: ${JSON.stringify(o)}\n\n`);
    put({ choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }] });
    for (const piece of text.match(/ ?[^ ]+/g)) {
      if (res.destroyed) return;
      put({ choices: [{ index: 0, delta: { content: piece }, finish_reason: null, lethe: { fired: fired(piece) } }] });
      await new Promise((r) => setTimeout(r, 30));
    }
    if (/break/.test(question)) { put({ error: { message: 'the model failed', type: 'server_error', code: 'failed' } }); return res.end(); }
    put({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    res.end('data: [DONE]\n\n');
  }

  const server = createServer((req, res) => {
    let text = '';
    req.on('data', (d) => { text += d; });
    req.on('end', () => {
      const path = req.url === '/' ? '/index.html' : req.url;
      if (files.has(path)) {
        res.writeHead(200, { 'Content-Type': TYPES[extname(path)], 'Content-Security-Policy': policy('LETHE_WEB_POLICY') });
        return res.end(files.get(path));
      }
      if (path === '/report') {
        res.writeHead(200, { 'Content-Type': TYPES['.html'], 'Content-Security-Policy': policy('LETHE_WEB_REPORT_POLICY') });
        return res.end('<!doctype html><html lang="en"><title>Report</title><h1>The report</h1>');
      }
      if (key && req.headers.authorization !== `Bearer ${key}`) return wrong(res, 401, 'the key is missing or wrong', 'invalid_api_key');
      const body = text ? JSON.parse(text) : null;
      if (path === '/v1/lethe/info') return json(res, 200, info);
      if (path === '/v1/lethe/features') return json(res, 200, { object: 'list', total: features.length, data: features });
      if (path === '/v1/lethe/trace') {
        const pieces = ['<|user|>', ...body.messages.at(-1).content.match(/ ?[^ ]+/g), '<|end|>'];
        return json(res, 200, { object: 'lethe.trace', tokens: pieces.map((piece, id) => ({ id, piece, special: piece[0] === '<', fired: fired(piece), acted: false })) });
      }
      if (path === '/v1/chat/completions') return void chat(res, body);
      wrong(res, 404, `no such path: ${path}`, 'not_found');
    });
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  return { url: `http://127.0.0.1:${server.address().port}/`, asked, close: () => { server.closeAllConnections(); server.close(); } };
}
