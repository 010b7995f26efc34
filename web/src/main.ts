// SPDX-License-Identifier: MIT
// The page: asks what is served, then shows the view that the address names (#chat, #features, #results).
import * as api from './api';
import { Chat } from './chat';
import { h } from './dom';
import { Features } from './features';
import * as hover from './hover';
import { results } from './results';

const main = document.getElementById('main')!;
const TITLES: { [view: string]: string } = { chat: 'Chat', features: 'Features', results: 'Results' };
const made = new Map<string, HTMLElement>(); // views keep what they hold while another is looked at
let chat: Chat | undefined;

function view(info: api.Info, name: string): HTMLElement {
  let element = made.get(name);
  if (!element) {
    if (name === 'features') element = new Features(info).element;
    else if (name === 'results') element = results(info);
    else element = (chat = new Chat(info)).element;
    made.set(name, element);
    main.append(element);
  }
  return element;
}

function show(info: api.Info): void {
  const asked = location.hash.slice(1), name = asked in TITLES ? asked : 'chat';
  const wanted = view(info, name);
  for (const element of made.values()) element.hidden = element !== wanted;
  for (const link of document.querySelectorAll<HTMLAnchorElement>('nav a'))
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  document.title = `${TITLES[name]} · Lethe`;
  if (name === 'chat') chat?.focus();
}

// A server that wants a key says so with 401.
function askKey(message: string): void {
  const input = h('input', { type: 'password', autocomplete: 'current-password', required: true, 'aria-label': 'Key', 'aria-describedby': 'key-note' });
  main.replaceChildren(h('form', { class: 'page key', onsubmit: (e: Event) => { e.preventDefault(); api.setKey(input.value); void start(); } },
    h('h1', {}, 'This server wants a key'), h('p', { class: 'note', id: 'key-note' }, message), h('input', { type: 'text', autocomplete: 'username', value: 'lethe', hidden: true, 'aria-label': 'Server' }), h('p', {}, input, ' ', h('button', { class: 'send', type: 'submit' }, 'Enter'))));
  input.focus();
}

async function start(): Promise<void> {
  try {
    const info = await api.info();
    main.replaceChildren();
    document.getElementById('model')!.textContent = info.model;
    addEventListener('hashchange', () => show(info));
    show(info);
  } catch (e) {
    if (e instanceof api.Refused && e.status === 401) return askKey(e.message);
    main.replaceChildren(h('section', { class: 'page' }, h('h1', {}, 'Not connected'),
      h('p', { class: 'note bad', role: 'alert' }, (e as Error).message), h('p', {}, h('button', { class: 'send', type: 'button', onclick: () => void start() }, 'Try again'))));
  }
}

hover.start();
document.querySelector('.skip')!.addEventListener('click', (e) => { e.preventDefault(); main.focus(); });
void start();
