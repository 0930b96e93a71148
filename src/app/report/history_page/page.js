'use strict';
(() => {
  // Only in open entries: a history has thousands of digests.
  function addCopyButtons(part) {
    for (const code of part.querySelectorAll('code.id, code.command')) {
      const next = code.nextElementSibling;
      if (next && next.matches('button.copy')) continue;
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'copy';
      button.textContent = 'Copy';
      button.setAttribute('aria-label', `Copy ${code.textContent}`);
      code.after(button);
    }
  }

  async function copy(button) {
    const code = button.previousElementSibling;
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // The clipboard is unavailable on plain HTTP; the selection remains to be copied by hand.
      if (!document.execCommand('copy')) return;
    }
    const label = button.getAttribute('aria-label');
    button.textContent = 'Copied';
    button.setAttribute('aria-label', 'Copied');
    setTimeout(() => {
      button.textContent = 'Copy';
      button.setAttribute('aria-label', label);
    }, 2000);
  }

  document.addEventListener('click', (event) => {
    const button = event.target.closest('button.copy');
    if (button && button.textContent === 'Copy') copy(button);
  });
  document.addEventListener('toggle', (event) => {
    if (event.target.open) addCopyButtons(event.target);
  }, true);
  for (const part of document.querySelectorAll('details[open]')) addCopyButtons(part);
  for (const button of document.querySelectorAll('button.copy[hidden]')) button.hidden = false;

  const form = document.getElementById('search');
  if (!form) return;
  const query = document.getElementById('query');
  const found = document.getElementById('found');
  const rows = Array.from(document.querySelectorAll('ol.sets > li'), (row) => {
    // The diff names the digests of two sets, so it is left out.
    const parts = row.querySelectorAll('h3, p, dl');
    const text = Array.from(parts, (part) => part.textContent.replace(/\s+/g, ' ')).join(' ');
    const code = row.querySelector('h3 code');
    return { row, text: text.toLowerCase(), revision: code ? code.textContent.toLowerCase() : '' };
  });

  // An entry without details has only the first digits of its revision.
  function contains({ text, revision }, word) {
    return text.includes(word) || (revision.length >= 12 && word.startsWith(revision));
  }

  function search() {
    const words = query.value.toLowerCase().split(/\s+/).filter((word) => word !== '');
    let count = 0;
    for (const entry of rows) {
      entry.row.hidden = !words.every((word) => contains(entry, word));
      count += entry.row.hidden ? 0 : 1;
    }
    found.textContent = words.length === 0 ? '' : `${count} of ${rows.length} shown`;
  }

  // A link to a set opens it, and shows it if the search left it out.
  function follow() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target || !target.matches('ol.sets > li')) return;
    const details = target.querySelector('details');
    if (details) details.open = true;
    if (target.hidden) {
      query.value = '';
      search();
    }
    target.scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener('submit', (event) => event.preventDefault());
  query.addEventListener('input', search);
  addEventListener('hashchange', follow);
  // A browser may restore what was typed before.
  search();
  follow();
})();
