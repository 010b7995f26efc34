// SPDX-License-Identifier: MIT
// Elements. Text goes in as text alone, never as markup: what a model says stays a word.

type Child = Node | string | number | null | undefined | false;
type Props = { [name: string]: string | number | boolean | null | undefined | ((event: any) => void) };

// h('button', { class: 'x', onclick: f, disabled: true }, 'text'): attributes, listeners, children.
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  add(element, ...children);
  return element;
}

export function add(parent: Element, ...children: Child[]): void {
  for (const child of children)
    if (child !== null && child !== undefined && child !== false)
      parent.append(typeof child === 'number' ? String(child) : child);
}

export function svg(tag: string, attributes: { [name: string]: string | number }): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

const live = () => document.getElementById('say')!;

// For screen readers: read out when they are idle.
export function say(text: string): void {
  live().textContent = text;
}
