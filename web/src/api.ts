// SPDX-License-Identifier: MIT
// What the server says and is asked (docs/serve.md).
import { events } from './sse';

export interface Removal {
  id: string; name: string; layer: number; hook: string; method: string; strength: number; text: string;
  features: number;
}
export interface Info {
  version: string; model: string; forget_model: string | null; architecture: string; layers: number; width: number;
  parameters: number; context: number; chat_template: boolean; removals: Removal[];
  report: boolean; cards: boolean; statistics: boolean;
}
export interface Context { role: string; peak: number; at: number; tokens: string[]; activations: number[] }
export interface Lens { token: string; id: number; logit: number }
export interface Figures { fires: number; freq: number; mean: number; max?: number }
export interface Card {
  share: number | null; promotes: Lens[]; suppresses: Lens[]; contexts: Context[];
  histogram?: { width: number; forget?: number[]; near?: number[]; retain?: number[] };
}
export interface Feature {
  feature: number; removal: number; layer: number; rank: number; score: number | null; ratio: number | null;
  mean: number | null; threshold: number | null;
  statistics: { [role: string]: Figures | null } | null;
  card: Card | null;
}
export interface Fired { feature: number; removal: number; value: number }
export interface Message { role: 'user' | 'assistant' | 'system'; content: string }
export interface Traced { piece: string; special: boolean; fired: Fired[]; acted: boolean }

export class Refused extends Error {
  constructor(message: string, readonly status: number, readonly code: string) { super(message); }
}

let key = '';
export const setKey = (value: string) => { key = value; };

async function ask(path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  if (key) headers['Authorization'] = `Bearer ${key}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST', headers, credentials: 'omit', cache: 'no-store',
      body: body === undefined ? null : JSON.stringify(body), signal: signal ?? null,
    });
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e;
    throw new Refused('The server does not answer. Is it still running?', 0, 'unreachable');
  }
  if (response.ok) return response;
  const said = (await response.json().catch(() => null)) as { error?: { message?: string; code?: string } } | null;
  throw new Refused(said?.error?.message ?? `the server answered ${response.status}`, response.status, said?.error?.code ?? '');
}

export const info = async () => (await (await ask('/v1/lethe/info')).json()) as Info;
export const features = async () => ((await (await ask('/v1/lethe/features')).json()) as { data: Feature[] }).data;
export const trace = async (messages: Message[], forget: boolean, model: string, signal: AbortSignal) =>
  ((await (await ask('/v1/lethe/trace', { model, messages, forget }, signal)).json()) as { tokens: Traced[] }).tokens;

export interface Piece { text: string; fired: Fired[] }
export interface Asked {
  model: string; messages: Message[]; temperature?: number; top_p?: number; max_tokens?: number; seed?: number;
  repeat_penalty?: number; strength?: number;
}

// Yields the pieces of an answer as they come; returns why it ended ("stop", "length").
export async function* chat(asked: Asked, signal: AbortSignal): AsyncGenerator<Piece, string> {
  const { strength, ...body } = asked;
  const lethe = { trace: true, ...(strength === undefined ? {} : { strength }) };
  const response = await ask('/v1/chat/completions', { ...body, stream: true, lethe }, signal);
  if (!response.body) throw new Refused('the server sent no answer', 0, 'empty');
  let end = '';
  for await (const data of events(response.body)) {
    if (data === '[DONE]') return end || 'stop';
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(chunk.error.message ?? 'the model failed', 500, chunk.error.code ?? '');
    const choice = chunk.choices?.[0];
    if (!choice) continue;
    if (choice.finish_reason) end = choice.finish_reason;
    const text: string = choice.delta?.content ?? '';
    if (text) yield { text, fired: choice.lethe?.fired ?? [] };
  }
  throw new Refused('The answer broke off.', 0, 'broken');
}
