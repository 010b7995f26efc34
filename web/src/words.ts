// SPDX-License-Identifier: MIT
// A text as it grows, piece by piece; where a removed feature fired the piece is underlined and has a
// card. Of the underlined pieces one is in the tab order, and arrow keys go from one to the next.
import type { Fired } from './api';
import { h } from './dom';
import * as hover from './hover';

export class Words {
  readonly element = h('p', { class: 'words', dir: 'auto' });
  text = '';

  constructor() {
    this.element.addEventListener('keydown', (e) => {
      const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
      const all = this.fired(), at = all.indexOf(document.activeElement as HTMLElement);
      const next = all[at + step];
      if (!step || at < 0 || !next) return;
      e.preventDefault();
      all[at]!.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  add(piece: string, fired: Fired[] = []): void {
    if (!this.text) piece = piece.trimStart();
    if (!piece) return;
    this.text += piece;
    const word = piece.trim();
    if (!fired.length || !word) {
      const last = this.element.lastChild;
      if (last instanceof Text) last.appendData(piece);
      else this.element.append(piece);
      return;
    }
    const lead = piece.slice(0, piece.indexOf(word)), trail = piece.slice(lead.length + word.length);
    const span = h('span', { class: 'fired', role: 'note', tabindex: this.fired().length ? -1 : 0,
      'aria-label': `${word}: removed feature ${fired.map((f) => f.feature).slice(0, 3).join(', ')} fired` }, word);
    hover.attach(span, fired);
    if (lead) this.element.append(lead);
    this.element.append(span);
    if (trail) this.element.append(trail);
  }

  clear(): void {
    this.element.replaceChildren();
    this.text = '';
  }

  private fired(): HTMLElement[] {
    return [...this.element.querySelectorAll<HTMLElement>('.fired')];
  }
}
