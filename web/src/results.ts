// SPDX-License-Identifier: MIT
// The run's report, kept apart: it may run its own script, but has no part in this page.
import type { Info } from './api';
import { h } from './dom';

export function results(info: Info): HTMLElement {
  if (!info.report)
    return h('section', { class: 'page', 'aria-labelledby': 'results-name' }, h('h1', { id: 'results-name' }, 'No results'),
      h('p', { class: 'note' }, 'The server was not started on a run that has a report. Evaluate one with ', h('code', {}, 'lethe forget'),
        ' (or ', h('code', {}, 'lethe eval'), ' and ', h('code', {}, 'lethe report'), '), then ', h('code', {}, 'lethe serve --out runs/demo'), '.'));
  return h('section', { class: 'results', 'aria-label': 'Results' },
    h('iframe', { src: '/report', sandbox: 'allow-scripts', title: "The run's report", referrerpolicy: 'no-referrer' }),
    h('p', { class: 'alone' }, h('a', { href: '/report', target: '_blank', rel: 'noopener' }, 'Open it alone')));
}
