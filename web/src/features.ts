// SPDX-License-Identifier: MIT
// The removed features: search, sort, a card each.
import type { Feature, Info } from './api';
import { context, frequencies, histogram, lens } from './feature_parts';
import { add, h, say } from './dom';
import { number, percent, plural } from './format';
import * as store from './store';

const PAGE = 40; // cards drawn at once
type Key = [label: string, of: (f: Feature) => number | null | undefined, known: (info: Info) => boolean];
const KEYS: { [name: string]: Key } = {
  rank: ['as chosen', (f) => -f.rank, () => true],
  share: ['part of what is moved', (f) => f.card?.share, (i) => i.cards],
  score: ['score', (f) => f.score, (i) => i.statistics],
  ratio: ['how specific', (f) => f.ratio, (i) => i.statistics],
  freq: ['how often it fires', (f) => f.statistics?.['forget']?.freq, (i) => i.statistics],
  mean: ['mean activation', (f) => f.mean, () => true],
  number: ['number', (f) => -f.feature, () => true],
};

const text = (f: Feature) => [`${f.feature}`, ...(f.card?.promotes ?? []).map((t) => t.token),
  ...(f.card?.contexts ?? []).map((c) => c.tokens.join(''))].join(' ').toLowerCase();

export class Features {
  readonly element: HTMLElement;
  private all: { f: Feature; text: string }[] = [];
  private shown: Feature[] = [];
  private drawn = 0;
  private readonly search = h('input', { type: 'search', placeholder: 'a word, a number', 'aria-label': 'Search features', oninput: () => this.list() });
  private readonly sort: HTMLSelectElement;
  private readonly count = h('span', { class: 'count', role: 'status' });
  private readonly cards = h('div', { class: 'cards' });
  private readonly more = h('button', { class: 'plain more', type: 'button', hidden: true, onclick: () => this.draw() }, 'More');

  constructor(private readonly info: Info) {
    this.sort = h('select', { 'aria-label': 'Sort by', onchange: () => this.list() },
      ...Object.entries(KEYS).filter(([, k]) => k[2](info)).map(([name, k]) => h('option', { value: name }, k[0])));
    this.element = h('section', { class: 'features page', 'aria-labelledby': 'features-name' },
      h('h1', { id: 'features-name' }, 'Removed features'),
      ...info.removals.map((r) => h('p', { class: 'lead' }, h('b', {}, r.name), ` · after layer ${r.layer}: ${r.text}`)),
      info.removals.length > 0 && !info.cards && h('p', { class: 'note' }, 'Tokens and passages of features are in cards.json of a run: ',
        h('code', {}, 'lethe inspect'), ', then ', h('code', {}, 'lethe serve --out RUN'), '.'),
      h('div', { class: 'tools' }, h('label', {}, 'Search', this.search), h('label', {}, 'Sort by', this.sort), this.count),
      this.cards, this.more);
    void this.load();
  }

  private async load(): Promise<void> {
    this.cards.replaceChildren(h('p', { class: 'note' }, 'Loading …'));
    try {
      this.all = (await store.features()).map((f) => ({ f, text: text(f) }));
      this.list();
    } catch (e) {
      this.cards.replaceChildren(h('p', { class: 'note bad', role: 'alert' }, (e as Error).message, ' ',
        h('button', { class: 'plain', type: 'button', onclick: () => this.load() }, 'Try again')));
    }
  }

  private list(): void {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean), of = KEYS[this.sort.value]![1];
    this.shown = this.all.filter((x) => words.every((w) => x.text.includes(w))).map((x) => x.f)
      .sort((a, b) => (of(b) ?? -Infinity) - (of(a) ?? -Infinity) || a.removal - b.removal || a.rank - b.rank);
    this.count.textContent = this.shown.length === this.all.length ? plural(this.all.length, 'feature') : `${this.shown.length} of ${this.all.length}`;
    this.cards.replaceChildren();
    this.drawn = 0;
    if (!this.shown.length) add(this.cards, h('p', { class: 'note' }, this.all.length ? 'No feature has that.' : 'Nothing was removed.'));
    this.draw();
  }

  private draw(): void {
    const next = this.shown.slice(this.drawn, this.drawn + PAGE);
    add(this.cards, ...next.map((f) => this.card(f)));
    if (this.drawn) {
      say(plural(next.length, 'more feature'));
      (this.cards.children[this.drawn] as HTMLElement).focus();
    }
    this.drawn += next.length;
    this.more.hidden = this.drawn >= this.shown.length;
    this.more.textContent = `Show ${Math.min(PAGE, this.shown.length - this.drawn)} more of ${this.shown.length - this.drawn}`;
  }

  private card(f: Feature): HTMLElement {
    const figures: [string, string][] = [];
    if (f.score !== null) figures.push(['score', number(f.score)]);
    if (f.ratio !== null) figures.push(['ratio', number(f.ratio)]);
    if (f.mean !== null) figures.push(['mean', number(f.mean)]);
    if (f.threshold !== null) figures.push(['threshold', number(f.threshold)]);
    const rest = f.card?.contexts.slice(2) ?? [];
    return h('article', { class: 'card', tabindex: -1, 'aria-label': `Feature ${f.feature}` },
      h('header', {}, h('h2', {}, `Feature ${f.feature}`),
        h('p', {}, this.info.removals.length > 1 && `${this.info.removals[f.removal]?.name ?? ''} · `, `no. ${f.rank}`,
          typeof f.card?.share === 'number' && ` · ${percent(f.card.share)} of what is moved`)),
      h('dl', { class: 'figures' }, ...figures.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])),
      frequencies(f), histogram(f),
      f.card && lens('promotes', f.card.promotes, 8), f.card && lens('suppresses', f.card.suppresses, 8),
      ...(f.card?.contexts.slice(0, 2) ?? []).map((c) => context(c, 12)),
      rest.length > 0 && h('details', {}, h('summary', {}, plural(rest.length, 'more passage')), ...rest.map((c) => context(c, 12))));
  }
}
