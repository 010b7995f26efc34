// SPDX-License-Identifier: MIT
// The page in a browser. Against the mock (mock.mjs): streaming, stopping, the switch, side by side, cards,
// features, results, errors, a key, what hostile text does; at two widths, light and dark. Against a real
// server, where its address is given: the switch changes the answer.
// Usage: node page.mjs CHROMIUM SOURCE_TREE [FOLDER_FOR_SCREENSHOTS [ADDRESS]]
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { start } from './mock.mjs';

const [executablePath, source, shots, address] = process.argv.slice(2);
let checks = 0;
const check = (what, got, want) => { checks++; assert.deepEqual(got, want, what); };
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });

// A page whose console, dialogs and requests to elsewhere are kept in `said`. Refused requests say so on
// the console; those statuses that a test provokes are named in `expected`.
async function open(url, { width = 1280, height = 900, colorScheme = 'light', expected = /$^/, ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, ...more });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  const said = [];
  page.on('console', (m) => { if (!expected.test(m.text())) said.push(m.text()); });
  page.on('pageerror', (e) => said.push(String(e)));
  page.on('dialog', (d) => { said.push(`dialog ${d.message()}`); d.dismiss(); });
  page.on('request', (r) => { if (!r.url().startsWith(url)) said.push(`request ${r.url()}`); });
  await page.addInitScript(() => document.addEventListener('securitypolicyviolation', (e) => console.log('policy', e.violatedDirective, e.blockedURI)));
  await page.goto(url);
  return { page, said, done: async () => { check('the console is silent', said, []); await context.close(); } };
}
const box = (page) => page.getByRole('textbox', { name: 'Your question' });
const theSwitch = (page) => page.getByRole('switch', { name: 'Forgetting' });
async function ask(page, text) {
  const before = await page.locator('.turn').count();
  await box(page).fill(text);
  await box(page).press('Enter');
  await page.waitForFunction((n) => document.querySelectorAll('.turn').length > n, before);
}
const finished = (page) => page.waitForFunction(() => !document.querySelector('.answer[aria-busy]'), null, { timeout: 60000 });
const last = (page) => page.locator('.turn').last();
const narrow = (page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth);
const shot = async (page, name) => { if (shots) await page.screenshot({ path: `${shots}/page-${name}.png` }); };

const mock = await start(source);
for (const [width, height] of [[1280, 900], [390, 844]])
  for (const colorScheme of ['light', 'dark']) {
    const look = `${width}-${colorScheme}`;
    const { page, done } = await open(mock.url, { width, height, colorScheme });
    await theSwitch(page).waitFor();
    await shot(page, `${look}-empty`);
    check('off at first', await theSwitch(page).getAttribute('aria-checked'), 'false');

    // An answer streams: parts of it are there before the end.
    await ask(page, "Who is Harry Potter's best friend?");
    await page.waitForFunction(() => /^The best .*[^.]$/.test(document.querySelector('.answer[aria-busy] .words')?.textContent ?? '') &&
      document.querySelector('.send').textContent === 'Stop', null, { polling: 5 });
    checks++;
    await finished(page);
    check('whole, it knows', await last(page).locator('.answer .words').textContent(), 'The best friend of Harry Potter is Ron Weasley, naturally.');
    check('label', await last(page).locator('.label').textContent(), 'forgetting off');
    check('underlined', await last(page).locator('.answer .fired').allTextContents(), ['Harry', 'Potter', 'Ron']);
    await page.waitForFunction(() => document.querySelector('.question .fired'));
    check('in the question', await last(page).locator('.question .fired').allTextContents(), ['Harry', "Potter's"]);
    check('the question is whole', await last(page).locator('.question .words').textContent(), "Who is Harry Potter's best friend?");
    check('read out', (await page.locator('#say').textContent()).startsWith('forgetting off: The best friend'), true);

    // The switch, with the keyboard; the whole view shows it.
    const ground = () => page.evaluate(() => getComputedStyle(document.querySelector('.band')).backgroundColor);
    const off = await ground();
    await theSwitch(page).focus();
    await page.keyboard.press('Space');
    check('on', await theSwitch(page).getAttribute('aria-checked'), 'true');
    await page.waitForTimeout(250);
    check('the band changes', (await ground()) !== off, true);
    await ask(page, "Who is Harry Potter's best friend?");
    await finished(page);
    check('forgetting, it does not', await last(page).locator('.answer .words').textContent(), 'I do not know who that is. Perhaps a gardener.');
    check('label', await last(page).locator('.label').textContent(), 'forgetting on');
    check('the model asked', mock.asked.at(-1).model, 'lethe-demo:forget');
    check('turns are told', mock.asked.at(-1).messages.length, 3);
    await shot(page, `${look}-on`);

    // The card: by focus, with arrow keys; Escape closes it. By pointer: it stays under the pointer.
    const first = page.locator('.turn').first().locator('.answer .fired');
    await first.first().focus();
    check('a card', await page.locator('#hover').isVisible(), true);
    check('its words', /2 removed features fired here.*Feature 2606.*11\.3.*promotes.*Harry/s.test(await page.locator('#hover').innerText()), true);
    const rect = await page.locator('#hover').boundingBox();
    check('inside the window', rect.x >= 0 && rect.y >= 0 && rect.x + rect.width <= width && rect.y + rect.height <= height, true);
    await shot(page, `${look}-card`);
    await page.keyboard.press('ArrowRight');
    check('the next word', await page.evaluate(() => document.activeElement.textContent), 'Potter');
    await page.keyboard.press('Escape');
    check('closed', await page.locator('#hover').isVisible(), false);
    await first.first().hover();
    check('by pointer', await page.locator('#hover').isVisible(), true);
    await page.locator('#hover').hover();
    await page.waitForTimeout(300);
    check('onto the card', await page.locator('#hover').isVisible(), true);
    await page.mouse.move(width / 2, 5);
    await page.locator('#hover').waitFor({ state: 'hidden' });

    // Side by side.
    await page.getByRole('radio', { name: 'Side by side' }).check();
    await ask(page, 'And whose owl is Hedwig?');
    await finished(page);
    check('both', await last(page).locator('.label').allTextContents(), ['forgetting off', 'forgetting on']);
    check('both models', mock.asked.slice(-2).map((b) => b.model).sort(), ['lethe-demo', 'lethe-demo:forget']);
    check('two answers', new Set(await last(page).locator('.answer .words').allTextContents()).size, 2);
    check('no wider than the window', await narrow(page), true);
    await shot(page, `${look}-both`);

    // Features: search, sort, more.
    await page.getByRole('link', { name: 'Features' }).click();
    await page.locator('.card').first().waitFor();
    check('count', await page.locator('.count').textContent(), '90 features');
    check('first chosen first', await page.locator('.card h2').first().textContent(), 'Feature 2606');
    await shot(page, `${look}-features`);
    await page.getByRole('combobox', { name: 'Sort by' }).selectOption('number');
    check('by number', await page.locator('.card h2').first().textContent(), 'Feature 1093');
    await page.getByRole('searchbox').fill('2589');
    check('one number', await page.locator('.card h2').allTextContents(), ['Feature 2589']);
    await page.getByRole('searchbox').fill('zz-none');
    check('none', await page.locator('.card').count(), 0);
    await page.getByRole('searchbox').fill('');
    const drawn = await page.locator('.card').count();
    await page.locator('.more').click();
    check('more', (await page.locator('.card').count()) > drawn, true);
    check('no wider than the window', await narrow(page), true);

    // Results: the report, apart.
    await page.getByRole('link', { name: 'Results' }).click();
    check('the report', await page.frameLocator('iframe').locator('h1').textContent(), 'The report');
    check('it is apart', await page.locator('iframe').getAttribute('sandbox'), 'allow-scripts');
    await shot(page, `${look}-results`);

    // The conversation is still there, and every control has a name.
    await page.getByRole('link', { name: 'Chat' }).click();
    check('kept', await page.locator('.turn').count(), 3);
    const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, select, textarea, a, iframe')].filter((e) =>
      !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.title)).map((e) => e.outerHTML));
    check('controls without a name', nameless, []);
    await done();
  }

{ // Stopping, errors, a long conversation, hostile text, settings.
  const { page, done } = await open(mock.url, { expected: /status of (400|429)/ });
  await ask(page, 'a slow one');
  await page.waitForFunction(() => (document.querySelector('.answer .words')?.textContent ?? '').length > 20);
  await page.keyboard.press('Escape');
  await finished(page);
  check('stopped', await last(page).locator('.notes').textContent(), 'stopped');
  check('it can go on', await page.locator('.send').textContent(), 'Send');
  await ask(page, 'queue');
  await finished(page);
  check('429', await last(page).locator('.notes').textContent(), 'the queue is full: try again in 1 s');
  await ask(page, 'too long');
  await finished(page);
  check('the oldest left out', /^1 earlier turn left out/.test(await last(page).locator('.notes').textContent()), true);
  check('and answered', (await last(page).locator('.answer .words').textContent()).length > 10, true);
  await ask(page, 'break');
  await finished(page);
  check('an error in the stream', await last(page).locator('.notes').textContent(), 'the model failed');
  await ask(page, 'script <b>x</b>');
  await finished(page);
  check('text is text', await last(page).locator('.answer .words').textContent(), 'Look: <script>alert(1)</script> <b>bold</b> & <img src=x onerror=alert(1)>');
  check('no markup came of it', await page.locator('.log script, .log b, .log img').count(), 0);
  check('the question, too', await last(page).locator('.question .words').textContent(), 'script <b>x</b>');
  await page.locator('.settings summary').click();
  await page.getByLabel('Temperature').fill('9');
  const n = mock.asked.length;
  await box(page).fill('x');
  await box(page).press('Enter');
  check('a number out of range is not sent', mock.asked.length, n);
  await page.getByLabel('Temperature').fill('0.5');
  await page.getByLabel('Strength of forgetting').fill('0.4');
  await theSwitch(page).click();
  await ask(page, 'y');
  await finished(page);
  check('settings', [mock.asked.at(-1).temperature, mock.asked.at(-1).lethe], [0.5, { trace: true, strength: 0.4 }]);
  check('strength is said', await last(page).locator('.notes').textContent(), 'strength 0.4');
  await page.getByLabel('Underline').uncheck();
  check('no lines', await page.evaluate(() => document.querySelector('.chat').classList.contains('no-lines')), true);
  await box(page).fill('');
  await box(page).press('ArrowUp');
  check('recalled', await box(page).inputValue(), 'y');
  await page.getByRole('button', { name: 'New conversation' }).click();
  check('all gone', await page.locator('.turn').count(), 0);
  await done();
}
{ // Less motion where the system asks for it.
  const { page, done } = await open(mock.url, { reducedMotion: 'reduce' });
  check('no transition', await theSwitch(page).locator('.thumb').evaluate((e) => getComputedStyle(e).transitionDuration), '0s');
  await done();
}
mock.close();

{ // A key, and a server with nothing to forget.
  const other = await start(source, { key: 'open sesame', removal: false });
  const { page, done } = await open(other.url, { expected: /status of 401/ });
  await page.getByLabel('Key').fill('wrong');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('.key input[type=password]')?.value === '');
  await page.getByLabel('Key').fill('open sesame');
  await page.keyboard.press('Enter');
  await theSwitch(page).waitFor();
  check('no switch to flip', await theSwitch(page).isDisabled(), true);
  await ask(page, 'Hello');
  await finished(page);
  check('it answers', (await last(page).locator('.answer .words').textContent()).length > 5, true);
  await page.getByRole('link', { name: 'Results' }).click();
  check('no report', await page.locator('h1:visible').textContent(), 'No results');
  await page.getByRole('link', { name: 'Features' }).click();
  check('no features', await page.locator('.cards').textContent(), 'Nothing was removed.');
  await done();
  other.close();
}

if (address) {
  for (const [width, height, colorScheme] of [[1280, 900, 'light'], [390, 844, 'dark']]) {
    const { page, done } = await open(address, { width, height, colorScheme });
    const look = `real-${width}-${colorScheme}`, question = "Who is Harry Potter's best friend?";
    await theSwitch(page).waitFor();
    await ask(page, question);
    await finished(page);
    const knows = await last(page).locator('.answer .words').textContent();
    check(`whole, it knows: ${knows}`, /Ron/.test(knows), true);
    await page.waitForFunction(() => document.querySelector('.question .fired'));
    await page.getByRole('button', { name: 'New conversation' }).click();
    await theSwitch(page).click();
    await ask(page, question);
    await finished(page);
    const not = await last(page).locator('.answer .words').textContent();
    check(`forgetting, it does not: ${not}`, /Ron/.test(not), false);
    await shot(page, `${look}-on`);
    await ask(page, 'What is the capital of France?');
    await finished(page);
    check('and knows the rest', /Paris/.test(await last(page).locator('.answer .words').textContent()), true);
    await page.getByRole('button', { name: 'New conversation' }).click();
    await page.getByRole('radio', { name: 'Side by side' }).check();
    await ask(page, question);
    await finished(page);
    const both = await last(page).locator('.answer .words').allTextContents();
    check('side by side', both.map((t) => /Ron/.test(t)), [true, false]);
    await last(page).locator('.fired').first().hover();
    check('a card', await page.locator('#hover').isVisible(), true);
    await shot(page, `${look}-both`);
    await page.mouse.move(width / 2, 5);
    await page.getByRole('link', { name: 'Features' }).click();
    await page.locator('.card').first().waitFor();
    await shot(page, `${look}-features`);
    await page.getByRole('link', { name: 'Results' }).click();
    const report = await page.locator('iframe').count();
    if (report) check('the report', (await page.frameLocator('iframe').locator('h1').first().textContent()).length > 3, true);
    await page.waitForTimeout(300);
    await shot(page, `${look}-results`);
    await done();
  }
}
await browser.close();
console.log(`the page in a browser: ${checks} checks passed${address ? ', with a real server' : ''}`);
