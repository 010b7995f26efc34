/* SPDX-License-Identifier: MIT
 * What the page can do beyond being read: colours, search, where one is. */
'use strict';
(() => {
  const root = document.documentElement;
  root.classList.add('js');

  // Colours: as the system says, or as chosen. A page opened from a file may have no storage.
  const remember = (value) => { try { localStorage.setItem('lethe-theme', value); } catch { /* none */ } };
  const remembered = () => { try { return localStorage.getItem('lethe-theme'); } catch { return null; } };
  const buttons = document.querySelectorAll('.theme button');
  const paint = (theme) => {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
    else delete root.dataset.theme;
    for (const b of buttons) b.setAttribute('aria-pressed', String(b.value === (root.dataset.theme || 'auto')));
  };
  for (const b of buttons) b.addEventListener('click', () => { paint(b.value); remember(b.value); });
  paint(remembered());

  // Search and filters over a list of items; a word must occur, whatever its case.
  for (const tools of document.querySelectorAll('.tools')) {
    const items = [...document.querySelectorAll(tools.dataset.items)];
    const texts = items.map((item) => item.textContent.toLowerCase());
    const search = tools.querySelector('input[type=search]');
    const domain = tools.querySelector('select');
    const changed = tools.querySelector('input[type=checkbox]');
    const count = tools.querySelector('.count');
    const show = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let n = 0;
      items.forEach((item, i) => {
        const fits = words.every((w) => texts[i].includes(w)) &&
          (!domain || !domain.value || item.dataset.domain === domain.value) &&
          (!changed || !changed.checked || item.dataset.changed === '1');
        item.hidden = !fits;
        n += fits;
      });
      count.textContent = n === items.length ? `${n}` : `${n} of ${items.length}`;
    };
    for (const control of [search, domain, changed]) if (control) control.addEventListener('input', show);
    show();
  }

  // Which part is being read.
  const links = new Map([...document.querySelectorAll('nav a')].map((a) => [a.getAttribute('href').slice(1), a]));
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const e of entries) e.isIntersecting ? seen.add(e.target.id) : seen.delete(e.target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, a] of links) id === first ? a.setAttribute('aria-current', 'true') : a.removeAttribute('aria-current');
  }, { rootMargin: '-20% 0px -60% 0px' });
  for (const id of links.keys()) { const part = document.getElementById(id); if (part) watch.observe(part); }
})();
