// SPDX-License-Identifier: MIT
// Parts of a feature's card, for the Features view and the card beside a word.
import type { Context, Feature, Lens } from './api';
import { number, percent, token } from './format';
import { h, svg } from './dom';

const LEVELS = 6; // strengths of the ground behind a token, in style.css
const ROLES: { [role: string]: string } = { forget: 'to forget', near: 'near', retain: 'to keep' };

export const role = (name: string) => ROLES[name] ?? name;

export function lens(title: string, list: Lens[], most: number): HTMLElement | null {
  if (!list.length) return null;
  return h('p', { class: 'lens' }, h('b', {}, title), ' ',
    ...list.slice(0, most).map((t) => h('span', { class: 'tok', dir: 'auto', title: `logit ${number(t.logit)}` }, token(t.token))));
}

// A passage, each token on a ground as strong as the activation; radius: tokens about the peak.
export function context(c: Context, radius = Infinity): HTMLElement {
  const line = h('p', { class: 'context', dir: 'auto' }, h('span', { class: `role ${c.role}` }, role(c.role)), ' ');
  const from = Math.max(0, c.at - radius), to = Math.min(c.tokens.length, c.at + radius + 1);
  if (from > 0) line.append('…');
  for (let i = from; i < to; i++) {
    const text = (c.tokens[i] ?? '').replace(/\n/g, '↵'), z = c.activations[i] ?? 0;
    const level = z > 0 && c.peak > 0 ? Math.min(LEVELS, Math.ceil((LEVELS * z) / c.peak)) : 0;
    line.append(level ? h('mark', { class: `h${level}`, title: number(z) }, text) : text);
  }
  if (to < c.tokens.length) line.append('…');
  return line;
}

// How often the feature fires, by text.
export function frequencies(f: Feature): HTMLElement | null {
  const all = Object.entries(f.statistics ?? {}).filter(([, s]) => s);
  if (!all.length) return null;
  const most = Math.max(...all.map(([, s]) => s!.freq), 1e-9);
  return h('dl', { class: 'freq' }, ...all.flatMap(([name, s]) => {
    const bar = svg('svg', { class: `bar ${name}`, viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    bar.append(svg('rect', { width: 100, height: 6, class: 'ground' }), svg('rect', { width: Math.max(0.5, (100 * s!.freq) / most), height: 6 }));
    return [h('dt', {}, role(name)), h('dd', {}, bar, percent(s!.freq))];
  }));
}

// Activations on the text to forget (front) and on the rest (behind); heights are log(1 + count).
export function histogram(f: Feature): Element | null {
  const bins = f.card?.histogram, front = bins?.forget ?? [];
  if (!bins || !front.length) return null;
  const rest = front.map((_, i) => (bins.near?.[i] ?? 0) + (bins.retain?.[i] ?? 0));
  const top = Math.log1p(Math.max(...front, ...rest));
  let last = front.length;
  while (last > 1 && !front[last - 1] && !rest[last - 1]) last--;
  if (!(top > 0)) return null;
  const drawing = svg('svg', { class: 'hist', viewBox: `0 0 ${last * 10} 40`, preserveAspectRatio: 'none', role: 'img',
    'aria-label': `Histogram of activations from 0 to ${number(bins.width * last)}, on the text to forget and on the rest` });
  for (let i = 0; i < last; i++)
    for (const [name, count, x] of [['front', front[i]!, 1], ['rest', rest[i]!, 5.5]] as const) {
      const tall = (40 * Math.log1p(count)) / top;
      if (tall > 0) drawing.append(svg('rect', { class: name, x: i * 10 + x, width: 4, y: 40 - tall, height: tall }));
    }
  return drawing;
}
