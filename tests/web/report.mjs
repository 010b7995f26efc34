// SPDX-License-Identifier: MIT
// The report in a browser: tables hold the evaluation's numbers, nothing is said on the console, no
// request leaves the file, search and colours work, nothing overflows on a phone.
// Usage: node report.mjs CHROMIUM RUN_DIRECTORY [FOLDER_FOR_SCREENSHOTS]
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const [executablePath, run, shots] = process.argv.slice(2);
const page_url = pathToFileURL(resolve(run, 'report.html')).href;
const results = JSON.parse(readFileSync(resolve(run, 'eval.json'), 'utf8'));
const { baseline, ablated } = results.metrics;
let checks = 0;
const check = (what, got, want) => { checks++; assert.deepEqual(got, want, what); };
const shown = (x, digits, unit = '') => {
  const text = x.toFixed(digits) + unit;
  return (/^-[0.]+( |$)/.test(text) ? text.slice(1) : text).replace('-', '\u2212');
};

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
for (const [width, height] of [[1280, 900], [390, 844]])
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme });
    const page = await context.newPage();
    const said = [], requests = [];
    page.on('console', (m) => said.push(m.text()));
    page.on('pageerror', (e) => said.push(String(e)));
    page.on('dialog', (d) => { said.push('dialog ' + d.message()); d.dismiss(); });
    page.on('request', (r) => requests.push(r.url()));
    await page.goto(page_url);
    await page.waitForFunction(() => document.documentElement.classList.contains('js'));

    // [value, text] of every cell of a table, row by row.
    const table = (id) => page.$$eval(`#table-${id} tbody tr`, (rows) => rows.map((row) =>
      [...row.cells].map((c) => {
        const data = c.querySelector('data');
        return data ? [Number(data.value), data.textContent] : [null, c.textContent];
      })));
    const domains = Object.keys(baseline.logprobs ?? {});
    if (baseline.recall) {
      const rows = await table('recall');
      check('recall: rows', rows.length, domains.length);
      domains.forEach((d, i) => {
        check(`recall before, ${d}`, rows[i][2], [baseline.recall[d], shown(100 * baseline.recall[d], 1, ' %')]);
        check(`recall after, ${d}`, rows[i][3], [ablated.recall[d], shown(100 * ablated.recall[d], 1, ' %')]);
      });
    }
    if (domains.length) {
      const rows = await table('logprob');
      domains.forEach((d, i) => {
        check(`log-probability before, ${d}`, rows[i][2], [baseline.logprobs[d], shown(baseline.logprobs[d], 3)]);
        check(`log-probability after, ${d}`, rows[i][3], [ablated.logprobs[d], shown(ablated.logprobs[d], 3)]);
      });
    }
    const quality = await table('quality');
    check('perplexity', quality[0].slice(1, 3).map((c) => c[0]), [baseline.perplexity, ablated.perplexity]);
    for (const group of ['forget', 'attack', 'retain']) {
      const elsewhere = ['recall', 'logprob', 'perplexity', 'kl', 'top1_agreement', 'degeneration', 'distinct_3'];
      const measures = (results.measures ?? []).filter((m) => m.group === group && !elsewhere.includes(m.name));
      if (!measures.length) continue;
      const rows = await table(group);
      measures.forEach((m, i) => {
        check(`${group}: ${m.name} before`, rows[i][3][0], m.baseline?.mean ?? null);
        check(`${group}: ${m.name} after`, rows[i][4][0], m.ablated?.mean ?? null);
      });
    }

    // Every table has a caption and heads with a scope; every part of the list is there.
    check('tables without a caption', await page.$$eval('table[id]', (t) => t.filter((x) => !x.caption).length), 0);
    check('heads without a scope', await page.$$eval('th:not([scope])', (t) => t.length), 0);
    check('links to nowhere', await page.$$eval('a[href^="#"]', (all) =>
      all.filter((a) => !document.getElementById(a.getAttribute('href').slice(1))).length), 0);
    check('drawings without a name', await page.$$eval('svg:not([aria-hidden]):not([aria-label]):not(svg svg)', (s) => s.length), 0);
    check('nothing wider than the window', await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);

    // Search.
    const pairs = (results.side_by_side ?? []).length;
    if (pairs) {
      check('all completions', await page.locator('.pair:visible').count(), pairs);
      const box = page.locator('.tools[data-items=".pair"] input[type=search]');
      await box.fill('zz-no-such-text-zz');
      check('a search without a hit', await page.locator('.pair:visible').count(), 0);
      await box.fill('');
      check('all again', await page.locator('.pair:visible').count(), pairs);
      const select = page.locator('.tools[data-items=".pair"] select');
      const first = results.side_by_side[0].domain;
      if (first && await select.count()) {
        await select.selectOption(first);
        check('one domain', await page.locator('.pair:visible').count(),
          results.side_by_side.filter((s) => s.domain === first).length);
        await select.selectOption('');
      }
    }

    // Colours, with the keyboard.
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const system = await paper();
    await page.locator('.theme button[value=dark]').focus();
    await page.keyboard.press('Enter');
    const dark = await paper();
    await page.locator('.theme button[value=light]').press('Enter');
    const light = await paper();
    check('dark is not light', dark !== light, true);
    await page.locator('.theme button[value=auto]').click();
    check('as the system says', await paper(), system);
    check('that is', system, colorScheme === 'dark' ? dark : light);

    if (shots) {
      await page.evaluate(() => document.activeElement.blur());
      await page.screenshot({ path: `${shots}/report-${width}-${colorScheme}.png`, fullPage: true });
    }
    check('the console is silent', said, []);
    check('nothing but the file is asked for', requests, [page_url]);
    await context.close();
  }
await browser.close();
console.log(`report in a browser: ${checks} checks passed`);
