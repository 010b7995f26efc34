// SPDX-License-Identifier: MIT
// Numbers and tokens as people read them.

export function number(x: number | null | undefined, digits = 3): string {
  if (x === null || x === undefined || !Number.isFinite(x)) return '–';
  if (x !== 0 && Math.abs(x) < 0.001) return x.toExponential(1).replace('-', '\u2212');
  return String(Number(x.toPrecision(digits))).replace('-', '\u2212');
}

export function percent(x: number | null | undefined): string {
  if (x === null || x === undefined || !Number.isFinite(x)) return '–';
  if (x > 0 && x < 0.0001) return '< 0.01 %';
  return `${Number((100 * x).toPrecision(x < 0.1 ? 2 : 3))} %`;
}

export const plural = (n: number, one: string, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

// A token alone: what would not be seen is drawn.
export const token = (text: string) => text.replace(/\n/g, '↵').replace(/\t/g, '⇥').replace(/^ | $/g, '·') || '∅';
