// SPDX-License-Identifier: MIT
// How answers are drawn. An empty field is the server's default.
import type { Asked, Info } from './api';
import { h } from './dom';
import { number } from './format';

interface Field { name: keyof Asked; label: string; start: string; hint: string; min: number; max: number; step: number | 'any' }

export class Settings {
  readonly element: HTMLElement;
  private readonly inputs = new Map<keyof Asked, HTMLInputElement>();

  constructor(info: Info, underline: (on: boolean) => void) {
    const removal = info.removals[0];
    const fields: Field[] = [
      { name: 'temperature', label: 'Temperature', start: '0', hint: '1', min: 0, max: 2, step: 'any' },
      { name: 'top_p', label: 'Top p', start: '', hint: '1', min: 0, max: 1, step: 'any' },
      { name: 'repeat_penalty', label: 'Repeat penalty', start: '', hint: '1', min: 1, max: 2, step: 'any' },
      { name: 'max_tokens', label: 'Most tokens', start: '', hint: 'what fits', min: 1, max: info.context, step: 1 },
      { name: 'seed', label: 'Seed', start: '', hint: 'any', min: 0, max: 2 ** 53 - 1, step: 1 },
    ];
    if (removal)
      fields.push({ name: 'strength', label: 'Strength of forgetting', start: '', hint: number(removal.strength),
        min: removal.method === 'scale' ? -1000 : 0, max: 1000, step: 'any' });
    this.element = h('details', { class: 'settings' }, h('summary', {}, 'Settings'),
      h('div', { class: 'fields' }, ...fields.map((f) => {
        const input = h('input', { type: 'number', inputmode: 'decimal', name: f.name, min: f.min, max: f.max, step: f.step, value: f.start, placeholder: f.hint });
        this.inputs.set(f.name, input);
        return h('label', {}, f.label, input);
      })),
      h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: true,
        onchange: (e: Event) => underline((e.target as HTMLInputElement).checked) }), 'Underline where a removed feature fired'));
  }

  // The numbers that were given; null, with the field in focus, where one is out of range.
  get(forget: boolean): Partial<Asked> | null {
    const out: Record<string, number> = {};
    for (const [name, input] of this.inputs) {
      if (!input.checkValidity()) {
        (this.element as HTMLDetailsElement).open = true;
        input.reportValidity();
        return null;
      }
      if (input.value !== '' && (name !== 'strength' || forget)) out[name] = input.valueAsNumber;
    }
    return out as Partial<Asked>;
  }

}
