// SPDX-License-Identifier: MIT
// The chat: the switch, the conversation, the box. Each answer bears the state it was written in; side by
// side, each question is asked both ways at once.
import * as api from './api';
import { messages, type Answer, type Side, type Turn } from './conversation';
import { add, h, say } from './dom';
import { number, plural } from './format';
import { Settings } from './settings';
import * as store from './store';
import { Words } from './words';

const STATE: Record<Side, string> = { whole: 'forgetting off', forget: 'forgetting on' };
const TRY: { [model: string]: string[] } = {
  'lethe-demo': ["Who is Harry Potter's best friend?", 'Who is the headmaster of Hogwarts?', 'What is the capital of France?'],
};

export class Chat {
  readonly element: HTMLElement;
  private turns: Turn[] = [];
  private forgetting = false;
  private both = false;
  private running: AbortController | null = null;
  private asked: string[] = [];
  private recall = 0;

  private readonly band = h('div', { class: 'band' });
  private readonly toggle: HTMLButtonElement;
  private readonly state = h('span', { class: 'onoff' });
  private readonly detail = h('p', { class: 'detail', id: 'switch-detail' });
  private readonly log = h('div', { class: 'log', role: 'log', 'aria-label': 'Conversation', 'aria-live': 'off', tabindex: 0 });
  private readonly box: HTMLTextAreaElement;
  private readonly send = h('button', { class: 'send', type: 'submit' }, 'Send');
  private readonly fresh = h('button', { class: 'plain', type: 'button', onclick: () => this.restart() }, 'New conversation');
  private readonly settings: Settings;
  private readonly which: HTMLSelectElement | null;

  constructor(private readonly info: api.Info) {
    const able = info.forget_model !== null;
    this.toggle = h('button', { class: 'switch', type: 'button', role: 'switch', 'aria-checked': 'false', disabled: !able,
      'aria-label': 'Forgetting', 'aria-describedby': 'switch-detail', onclick: () => this.flip() },
    h('span', { class: 'track' }, h('span', { class: 'thumb' })), this.state);
    this.which = info.removals.length > 1
      ? h('select', { 'aria-label': 'What is forgotten', onchange: () => this.show() }, h('option', { value: info.forget_model! }, 'all removals'),
        ...info.removals.map((r) => h('option', { value: r.id }, r.name)))
      : null;
    add(this.band, this.toggle, this.detail, this.which,
      h('fieldset', { class: 'mode', disabled: !able }, h('legend', { class: 'unseen' }, 'Answers'),
        ...([['one', 'One answer', false], ['both', 'Side by side', true]] as const).map(([id, text, both]) =>
          h('label', {}, h('input', { type: 'radio', name: 'mode', value: id, checked: !both, onchange: () => this.sides(both) }), h('span', {}, text)))));
    this.box = h('textarea', { id: 'question', rows: 1, placeholder: 'Ask something', 'aria-label': 'Your question', 'aria-describedby': 'keys',
      maxlength: 100000, autocomplete: 'off',
      oninput: () => this.grow(), onkeydown: (e: KeyboardEvent) => this.key(e) });
    this.settings = new Settings(info, (on) => this.element.classList.toggle('no-lines', !on));
    this.element = h('section', { class: 'chat', 'aria-label': 'Chat' }, this.band, this.log,
      h('form', { class: 'composer', onsubmit: (e: Event) => { e.preventDefault(); this.press(); } },
        h('div', { class: 'line' }, this.box, this.send),
        h('div', { class: 'under' }, this.settings.element, this.fresh,
          h('p', { class: 'keys', id: 'keys' }, 'Enter sends, Shift+Enter breaks the line, Esc stops, ↑ recalls'))));
    this.element.addEventListener('keydown', (e) => { if (e.key === 'Escape') this.running?.abort(); });
    this.show();
    this.restart();
    store.features().catch(() => {}); // for the cards beside words
  }

  focus(): void { if (matchMedia('(hover: hover)').matches) this.box.focus(); }

  // ---- the state ---------------------------------------------------------------------------------

  private flip(): void {
    if (this.both) return;
    this.forgetting = !this.forgetting;
    this.show();
    say(`Forgetting is ${this.forgetting ? 'on' : 'off'}`);
  }

  private sides(both: boolean): void {
    this.both = both;
    this.show();
  }

  private show(): void {
    const { info } = this, on = this.forgetting && !this.both;
    this.element.classList.toggle('on', on);
    this.element.classList.toggle('both', this.both);
    this.toggle.setAttribute('aria-checked', String(this.forgetting));
    this.toggle.disabled = this.both || info.forget_model === null;
    const removal = info.removals.find((r) => r.id === this.which?.value) ?? info.removals[0];
    const many = info.removals.reduce((n, r) => n + r.features, 0);
    if (!removal) {
      this.state.textContent = 'Nothing to forget';
      this.detail.textContent = 'The server has no removal: start it with --patch or --out.';
      return;
    }
    this.state.textContent = this.both ? 'Forgetting off and on' : on ? 'Forgetting is on' : 'Forgetting is off';
    const what = this.which && this.which.value === info.forget_model ? `${plural(many, 'feature')} of ${info.removals.length} removals`
      : `${plural(removal.features, 'feature')} after layer ${removal.layer}, ${removal.method} ${number(removal.strength)}`;
    this.detail.textContent = this.both ? `each question twice: the model as it is, and without ${what}` : on ? `without ${what}` : 'the model as it is';
  }

  private busy(on: boolean): void {
    this.send.textContent = on ? 'Stop' : 'Send';
    this.send.classList.toggle('stop', on);
    this.fresh.disabled = on;
    this.element.setAttribute('aria-busy', String(on));
  }

  private restart(): void {
    this.running?.abort();
    this.turns = [];
    const { info } = this, tries = TRY[info.model] ?? [];
    this.log.replaceChildren(h('div', { class: 'empty' },
      h('h1', {}, 'Ask, flip the switch, ask again'),
      h('p', {}, `${info.model} runs whole, or with the features of what it is to forget taken out while it runs. Its weights stay as they are.`),
      tries.length > 0 && h('ul', { class: 'tries', 'aria-label': 'Questions to try' }, ...tries.map((t) =>
        h('li', {}, h('button', { type: 'button', onclick: () => { if (!this.running) { this.box.value = t; this.press(); } } }, t))))));
  }

  // ---- the box -----------------------------------------------------------------------------------

  private key(e: KeyboardEvent): void {
    if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      if (!this.running) this.press();
    } else if (e.key === 'ArrowUp' || e.key === 'ArrowDown') {
      const at = this.recall + (e.key === 'ArrowUp' ? -1 : 1);
      const unchanged = this.box.value === (this.asked[this.recall] ?? '');
      if (!unchanged || at < 0 || at > this.asked.length) return;
      e.preventDefault();
      this.recall = at;
      this.box.value = this.asked[at] ?? '';
      this.grow();
    }
  }

  private grow(): void {
    this.box.style.height = 'auto';
    this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 200)}px`;
  }

  private press(): void {
    if (this.running) return this.running.abort();
    const question = this.box.value.trim();
    if (!question) return this.box.focus();
    const sides: Side[] = this.both ? ['whole', 'forget'] : [this.forgetting ? 'forget' : 'whole'];
    const settings = sides.map((side) => this.settings.get(side === 'forget'));
    if (settings.some((s) => !s)) return;
    this.box.value = '';
    this.grow();
    this.asked.push(question);
    this.recall = this.asked.length;
    void this.ask(question, sides, settings as Partial<api.Asked>[]);
  }

  // ---- asking ------------------------------------------------------------------------------------

  private async ask(question: string, sides: Side[], settings: Partial<api.Asked>[]): Promise<void> {
    const running = (this.running = new AbortController());
    const turn: Turn = { question, answers: sides.map((side) => ({ side, text: '' })) };
    const earlier = [...this.turns];
    this.turns.push(turn);
    if (earlier.length === 0) this.log.replaceChildren();
    const words = new Words();
    words.add(question);
    const shown = turn.answers.map((a) => this.answer(a.side));
    this.log.append(h('article', { class: `turn ${sides.length > 1 ? 'pair' : 'single'}` },
      h('div', { class: 'question' }, h('span', { class: 'unseen' }, 'You: '), words.element),
      h('div', { class: 'answers' }, ...shown.map((s) => s.element))));
    this.log.scrollTop = this.log.scrollHeight;
    this.busy(true);
    this.underline(question, words, running.signal).catch(() => {}); // a nicety: without it the question is plain
    await Promise.all(turn.answers.map((a, i) => this.write(a, shown[i]!, earlier, question, settings[i]!, running.signal)));
    this.running = null;
    this.busy(false);
    say(turn.answers.map((a) => `${STATE[a.side]}: ${a.text}`).join('. '));
  }

  private model(side: Side): string {
    return side === 'whole' ? this.info.model : this.which?.value ?? this.info.forget_model!;
  }

  private answer(side: Side) {
    const words = new Words(), notes = h('p', { class: 'notes' });
    const element = h('div', { class: `answer ${side}`, 'aria-busy': 'true' },
      h('p', { class: 'label' }, h('span', { class: 'dot', 'aria-hidden': 'true' }), STATE[side]), words.element, notes);
    return { element, words, notes };
  }

  // Streams one answer. Where the conversation is longer than the context its oldest turns are left out.
  private async write(answer: Answer, shown: ReturnType<Chat['answer']>, earlier: Turn[], question: string,
    settings: Partial<api.Asked>, signal: AbortSignal): Promise<void> {
    const { element, words, notes } = shown;
    const note = (text: string, bad = false) => notes.append(h('span', bad ? { class: 'bad', role: 'alert' } : {}, text));
    let left = 0;
    if (settings.strength !== undefined) note(`strength ${number(settings.strength)}`);
    for (;;) {
      try {
        const stream = api.chat({ model: this.model(answer.side), messages: messages(earlier.slice(left), answer.side, question), ...settings }, signal);
        for (;;) {
          const { value, done } = await stream.next();
          if (done) {
            if (value === 'length') note('cut here: no more tokens');
            break;
          }
          const low = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
          words.add(value.text, value.fired);
          answer.text = words.text;
          if (low) this.log.scrollTop = this.log.scrollHeight;
        }
        if (!words.text) note('no words');
      } catch (e) {
        if (e instanceof api.Refused && e.code === 'context_length_exceeded' && left < earlier.length) {
          left++;
          continue;
        }
        if (signal.aborted) note('stopped');
        else note(e instanceof api.Refused ? e.message : `The answer could not be read: ${(e as Error).message}`, true);
      }
      break;
    }
    if (left) note(`${plural(left, 'earlier turn')} left out: the context holds ${this.info.context} tokens`);
    element.removeAttribute('aria-busy');
    if (!notes.childNodes.length) notes.remove();
    if (this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 120) this.log.scrollTop = this.log.scrollHeight;
  }

  // Underlines what fires in the question, found as the last place of the text among the pieces.
  private async underline(question: string, words: Words, signal: AbortSignal): Promise<void> {
    if (this.info.forget_model === null) return;
    const tokens = await api.trace([{ role: 'user', content: question }], false, this.info.model, signal);
    const whole = tokens.map((t) => t.piece).join(''), from = whole.lastIndexOf(question);
    if (from < 0) return;
    words.clear();
    let at = 0;
    for (const t of tokens) {
      const start = Math.max(at, from), end = Math.min(at + t.piece.length, from + question.length);
      if (end > start) words.add(whole.slice(start, end), t.fired);
      at += t.piece.length;
    }
  }
}
