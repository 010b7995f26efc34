// SPDX-License-Identifier: MIT
// The conversation as data: turns, each with a question and the answers it got. What a model is told of
// earlier turns are its own answers where it gave one, else the other's.
import type { Message } from './api';

export type Side = 'whole' | 'forget';
export interface Answer { side: Side; text: string }
export interface Turn { question: string; answers: Answer[] }

export function messages(turns: Turn[], side: Side, question: string): Message[] {
  const out: Message[] = [];
  for (const turn of turns) {
    const answer = turn.answers.find((a) => a.side === side && a.text) ?? turn.answers.find((a) => a.text);
    if (!answer) continue;
    out.push({ role: 'user', content: turn.question }, { role: 'assistant', content: answer.text });
  }
  out.push({ role: 'user', content: question });
  return out;
}
