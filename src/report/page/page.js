(() => {
  'use strict';
  const nothing = '–';

  // Columns that sort.
  const value = (row, column) => {
    const cell = row.children[column];
    if (!cell) return null;
    const exact = cell.querySelector('data');
    if (exact) return Number(exact.value);
    const text = cell.textContent.trim();
    if (text === nothing || text === '') return null;
    const number = Number.parseFloat(text);
    return /^[0-9.]/.test(text) && !Number.isNaN(number) ? number : text;
  };
  const compare = (a, b) => {
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    return String(a).localeCompare(String(b), 'en', { numeric: true });
  };
  const sort = (table, column, down) => {
    const many = table.tBodies.length > 1;
    const items = many ? [...table.tBodies] : [...table.tBodies[0].rows];
    const keyed = items.map((item, at) => [value(many ? item.rows[0] : item, column), at, item]);
    keyed.sort(([a, x], [b, y]) => {
      // What has no value stands last, whichever way.
      if (a === null || b === null) return (a === null) - (b === null) || x - y;
      return (down ? compare(b, a) : compare(a, b)) || x - y;
    });
    (many ? table : table.tBodies[0]).append(...keyed.map((it) => it[2]));
  };
  for (const table of document.querySelectorAll('.wide > table')) {
    const head = table.tHead && table.tHead.rows[0];
    // Of the small ones of each trial there are thousands.
    if (!head || table.closest('.trial')) continue;
    [...head.cells].forEach((cell, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = cell.textContent;
      cell.replaceChildren(button);
      button.addEventListener('click', () => {
        const numbers = cell.classList.contains('n');
        const was = cell.getAttribute('aria-sort');
        const down = was ? was === 'ascending' : numbers;
        for (const other of head.cells) other.removeAttribute('aria-sort');
        cell.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        sort(table, column, down);
      });
    });
  }

  // Trials that are chosen, and links to a choice.
  const form = document.getElementById('filters');
  const bodies = [...document.querySelectorAll('.trials > tbody')];
  const names = ['candidate', 'objective', 'end', 'text'];
  const field = (name) => form.elements.namedItem(name);
  const choose = () => {
    const wanted = Object.fromEntries(names.map((name) => [name, field(name).value]));
    const text = wanted.text.toLowerCase();
    let count = 0;
    for (const body of bodies) {
      const { c, o, e } = body.dataset;
      const is = (!wanted.candidate || c === wanted.candidate)
        && (!wanted.objective || o === wanted.objective)
        && (!wanted.end || e === wanted.end)
        && (!text || body.textContent.toLowerCase().includes(text));
      body.hidden = !is;
      count += is;
    }
    form.querySelector('output').textContent = `${count} of ${bodies.length} shown`;
    return wanted;
  };
  const remember = () => {
    const query = new URLSearchParams(Object.entries(choose()).filter(([, it]) => it));
    history.replaceState(null, '', `#trials${query.size ? `?${query}` : ''}`);
  };
  let waiting = 0;
  const follow = () => {
    let target = '';
    try { target = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    if (target.startsWith('trials?')) {
      const query = new URLSearchParams(location.hash.slice('#trials?'.length));
      for (const name of names) field(name).value = query.get(name) || '';
      choose();
      document.getElementById('trials').scrollIntoView();
      return;
    }
    const found = target && document.getElementById(target);
    if (!found) return;
    if (found.hidden) {
      form.reset();
      choose();
    }
    for (let it = found; it; it = it.parentElement) if (it.tagName === 'DETAILS') it.open = true;
    if (found.tagName === 'TBODY') {
      const more = found.querySelector('.more > td > details');
      if (more) more.open = true;
    }
    found.scrollIntoView();
  };
  if (form) {
    form.hidden = false;
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('input', (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(remember, event.target.type === 'search' ? 200 : 0);
    });
    choose();
    addEventListener('hashchange', follow);
    follow();
  }
})();
