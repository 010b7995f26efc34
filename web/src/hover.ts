// SPDX-License-Identifier: MIT
// The card beside a word where a removed feature fired: on hover, on focus, on tap. One at a time;
// Escape closes it, and the pointer may move onto it.
import type { Fired } from './api';
import { add, h } from './dom';
import { context, frequencies, lens } from './feature_parts';
import { number, plural } from './format';
import * as store from './store';

const SHOWN = 3; // features with all that is known; the others are numbers alone
const card = h('div', { class: 'hover', role: 'tooltip', id: 'hover', hidden: true });
let over: HTMLElement | null = null, closing = 0;

function fill(fired: Fired[]): void {
  const most = fired[0]?.value ?? 1;
  card.replaceChildren(h('p', { class: 'kind' }, `${plural(fired.length, 'removed feature')} fired here`));
  for (const f of fired.slice(0, SHOWN)) {
    const known = store.feature(f);
    const meter = h('meter', { min: 0, max: Math.max(most, 1e-9), value: f.value, 'aria-hidden': 'true' });
    add(card, h('section', {},
      h('p', { class: 'which' }, h('b', {}, `Feature ${f.feature}`), meter, h('span', { class: 'value' }, number(f.value))),
      known?.card && lens('promotes', known.card.promotes, 6),
      known?.card?.contexts[0] && context(known.card.contexts[0], 7),
      known && !known.card && frequencies(known)));
  }
  if (fired.length > SHOWN)
    add(card, h('p', { class: 'others' }, 'also ', fired.slice(SHOWN).map((f) => `${f.feature} (${number(f.value)})`).join(', ')));
}

function place(at: HTMLElement): void {
  const box = at.getClientRects()[0] ?? at.getBoundingClientRect(), gap = 8;
  card.hidden = false;
  const width = card.offsetWidth, height = card.offsetHeight;
  const left = Math.min(Math.max(gap, box.left), Math.max(gap, innerWidth - width - gap));
  const above = box.bottom + gap + height > innerHeight && box.top - gap - height > 0;
  card.style.left = `${left}px`;
  card.style.top = `${above ? box.top - gap - height : Math.min(box.bottom + gap, Math.max(gap, innerHeight - height - gap))}px`;
}

function open(at: HTMLElement, fired: Fired[]): void {
  clearTimeout(closing);
  if (over === at) return;
  close();
  over = at;
  at.setAttribute('aria-describedby', card.id);
  fill(fired);
  place(at);
}

function close(): void {
  clearTimeout(closing);
  over?.removeAttribute('aria-describedby');
  over = null;
  card.hidden = true;
}

const later = () => { clearTimeout(closing); closing = window.setTimeout(close, 160); };

export function attach(span: HTMLElement, fired: Fired[]): void {
  span.addEventListener('pointerenter', () => open(span, fired));
  span.addEventListener('pointerleave', later);
  span.addEventListener('focus', () => open(span, fired));
  span.addEventListener('blur', close);
  span.addEventListener('click', () => open(span, fired));
}

export function start(): void {
  document.body.append(card);
  card.addEventListener('pointerenter', () => clearTimeout(closing));
  card.addEventListener('pointerleave', later);
  document.addEventListener('keydown', (e) => { if (e.key === 'Escape' && over) { close(); e.stopPropagation(); } }, true);
  document.addEventListener('scroll', close, true);
  document.addEventListener('pointerdown', (e) => {
    if (over && !card.contains(e.target as Node) && !over.contains(e.target as Node)) close();
  });
  addEventListener('hashchange', close);
}
