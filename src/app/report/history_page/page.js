'use strict';
(() => {
  const form = document.getElementById('search');
  const query = document.getElementById('query');
  const found = document.getElementById('found');
  const rows = Array.from(document.querySelectorAll('ol.sets > li'), (row) => {
    // The diff names the digests of two sets, so it is left out.
    const parts = row.querySelectorAll('h3, p, dl');
    const text = Array.from(parts, (part) => part.textContent.replace(/\s+/g, ' ')).join(' ');
    return { row, text: text.toLowerCase() };
  });

  function search() {
    const words = query.value.toLowerCase().split(/\s+/).filter((word) => word !== '');
    let count = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      count += row.hidden ? 0 : 1;
    }
    found.textContent = words.length === 0 ? '' : `${count} of ${rows.length} shown`;
  }

  // A link to a set opens it, and shows it if the search left it out.
  function follow() {
    const target = document.getElementById(location.hash.slice(1));
    const details = target && target.querySelector('details');
    if (!details) return;
    details.open = true;
    if (target.hidden) {
      query.value = '';
      search();
    }
    target.scrollIntoView();
  }

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
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  }

  document.addEventListener('click', (event) => {
    const button = event.target.closest('button.copy');
    if (button) copy(button);
  });
  document.addEventListener('toggle', (event) => {
    if (event.target.open) addCopyButtons(event.target);
  }, true);
  for (const part of document.querySelectorAll('details[open]')) addCopyButtons(part);

  form.hidden = false;
  form.addEventListener('submit', (event) => event.preventDefault());
  query.addEventListener('input', search);
  addEventListener('hashchange', follow);
  // A browser may restore what was typed before.
  search();
  follow();
})();
