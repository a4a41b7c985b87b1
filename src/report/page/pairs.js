(() => {
  'use strict';
  const box = document.getElementById('pair');
  if (!box) return;
  // Every line is compared with every other, and nobody reads more rows.
  const LINES = 2000, ROWS = 500, AROUND = 2;
  const form = box.querySelector('form'), said = box.querySelector('output'), shown = box.querySelector('.diff');
  const field = (name) => form.elements.namedItem(name);
  const of = (name) => document.getElementById(`trial-${name}`);
  const make = (tag, text, name) => {
    const it = document.createElement(tag);
    if (text !== undefined) it.textContent = text;
    if (name) it.className = name;
    return it;
  };
  const counted = (count, one, many) => `${count} ${count === 1 ? one : many}`;

  // What a trial wrote, as far as it is in the page: its lines where it is text.
  const wrote = (name) => {
    const artifact = of(name).querySelector('.artifact');
    const text = artifact && artifact.querySelector('pre.text');
    if (!text) return { name, artifact };
    let cut = 'cut' in text.dataset;
    const lines = text.textContent.split('\n');
    // Nothing stands after the last line break, and what is cut ends in a piece of a line.
    if (lines.length > 1 && (cut || lines.at(-1) === '')) lines.pop();
    if (lines.length > LINES) {
      lines.length = LINES;
      cut = true;
    }
    return { name, artifact, lines, cut };
  };

  // Pairs of places: what both have, and what differs beside each other. By the longest common subsequence.
  const aligned = (left, right) => {
    const a = left.lines, b = right.lines, rows = [];
    let head = 0, tail = 0;
    while (head < Math.min(a.length, b.length) && a[head] === b[head]) head++;
    const rest = Math.min(a.length, b.length) - head;
    while (tail < rest && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
    const height = a.length - head - tail, width = b.length - head - tail;
    const best = new Uint16Array((height + 1) * (width + 1));
    const at = (i, j) => i * (width + 1) + j;
    const same = (i, j) => a[head + i] === b[head + j];
    for (let i = height - 1; i >= 0; i--) {
      for (let j = width - 1; j >= 0; j--) {
        best[at(i, j)] = same(i, j) ? best[at(i + 1, j + 1)] + 1 : Math.max(best[at(i + 1, j)], best[at(i, j + 1)]);
      }
    }
    let gone = [], come = [];
    const differ = () => {
      for (let k = 0; k < Math.max(gone.length, come.length); k++) rows.push({ left: gone[k], right: come[k], differs: true });
      gone = [];
      come = [];
    };
    const both = (i, j) => {
      differ();
      rows.push({ left: i, right: j, differs: false });
    };
    for (let k = 0; k < head; k++) both(k, k);
    let i = 0, j = 0;
    while (i < height || j < width) {
      if (i < height && j < width && same(i, j)) both(head + i++, head + j++);
      else if (j === width || (i < height && best[at(i + 1, j)] >= best[at(i, j + 1)])) gone.push(head + i++);
      else come.push(head + j++);
    }
    if (tail === 0) {
      // What would stand beside it is not known to be another.
      if (left.cut) come.length = Math.min(come.length, gone.length);
      if (right.cut) gone.length = Math.min(gone.length, come.length);
    }
    for (let k = tail; k > 0; k--) both(a.length - k, b.length - k);
    differ();
    return rows;
  };

  const side = (lines, place, differs, mark, name) => {
    if (place === undefined) return [make('td', undefined, 'none'), make('td', undefined, 'none')];
    return [make('td', `${place + 1}${differs ? ` ${mark}` : ''}`, 'n'), make('td', lines[place], differs ? `code ${name}` : 'code')];
  };
  const apart = (text) => {
    const row = make('tr', undefined, 'gap'), cell = make('td', text);
    cell.colSpan = 4;
    row.append(cell);
    return row;
  };
  // The rows around what differs.
  const drawn = (left, right, rows) => {
    const near = new Set();
    rows.forEach((row, at) => {
      for (let k = at - AROUND; row.differs && k <= at + AROUND; k++) near.add(k);
    });
    const body = make('tbody');
    let count = 0, folded = 0;
    const unfold = () => {
      if (folded) body.append(apart(`⋮ ${counted(folded, 'line', 'lines')} that both have`));
      folded = 0;
    };
    for (const [at, row] of rows.entries()) {
      if (count === ROWS) {
        body.append(apart(`… and ${counted(rows.length - at, 'more row', 'more rows')}`));
        return body;
      }
      if (!near.has(at)) {
        folded++;
        continue;
      }
      unfold();
      const line = make('tr', undefined, row.differs ? '' : 'same');
      line.append(...side(left.lines, row.left, row.differs, '−', 'gone'), ...side(right.lines, row.right, row.differs, '+', 'come'));
      body.append(line);
      count++;
    }
    unfold();
    return body;
  };
  // Of what is no text, what is shown of it.
  const previews = (...sides) => {
    const body = make('tbody'), row = make('tr');
    for (const { artifact } of sides) {
      const cell = make('td', artifact ? undefined : 'nothing of it is in this page');
      if (artifact) cell.append(...artifact.cloneNode(true).childNodes);
      row.append(make('td'), cell);
    }
    body.append(row);
    return body;
  };

  const short = (name) => name.slice(name.indexOf('/') + 1);
  const title = (name) => {
    const [, , , end, score] = of(name).rows[0].cells;
    return `${end.textContent}, ${score.textContent}`;
  };
  const headed = (...names) => {
    const head = make('thead'), row = make('tr');
    for (const name of names) {
      const cell = make('th'), link = make('a', name);
      cell.scope = 'col';
      link.href = `#trial-${name}`;
      cell.append(link, ` (${title(name)})`);
      row.append(make('td'), cell);
    }
    head.append(row);
    return head;
  };
  const show = () => {
    const [left, right] = ['left', 'right'].map((it) => wrote(field(it).value));
    const table = make('table'), wide = make('div', undefined, 'wide');
    wide.tabIndex = 0;
    wide.setAttribute('role', 'group');
    wide.setAttribute('aria-label', `${left.name} and ${right.name}`);
    table.append(headed(left.name, right.name));
    if (left.lines && right.lines) {
      const rows = aligned(left, right), count = rows.filter((it) => it.differs).length;
      table.append(drawn(left, right, rows));
      const cut = [left, right].filter((it) => it.cut).map((it) => ` Of ${short(it.name)} the first ${counted(it.lines.length, 'line is', 'lines are')} compared.`);
      said.textContent = (count ? `${counted(count, 'line differs', 'lines differ')}.` : 'Not a line differs.') + cut.join('');
    } else {
      table.append(previews(left, right));
      said.textContent = 'Not both are text: each is shown as it is.';
    }
    wide.append(table);
    shown.replaceChildren(wide);
  };

  // Which trials there are, and which are looked at first.
  const trials = new Map();
  for (const body of document.querySelectorAll('.trials > tbody')) {
    const { o } = body.dataset;
    if (!trials.has(o)) trials.set(o, []);
    trials.get(o).push(body.id.slice('trial-'.length));
  }
  const asked = (hash) => {
    if (!hash.startsWith('#side-by-side?')) return null;
    const query = new URLSearchParams(hash.slice('#side-by-side?'.length));
    const [left, right] = ['left', 'right'].map((it) => query.get(it));
    const all = [...trials].find(([, all]) => all.includes(left) && all.includes(right));
    return all ? { objective: all[0], left, right } : null;
  };
  const proposed = [...box.querySelectorAll('.keys a')].map((it) => asked(it.hash)).filter((it) => it);
  const first = (objective) => {
    const [left, right = left] = trials.get(objective);
    return proposed.find((it) => it.objective === objective) || { objective, left, right };
  };
  const option = (value, text) => {
    const it = make('option', text);
    it.value = value;
    return it;
  };
  const choose = (pair) => {
    field('objective').value = pair.objective;
    for (const name of ['left', 'right']) {
      field(name).replaceChildren(...trials.get(pair.objective).map((it) => option(it, `${short(it)} (${title(it)})`)));
      field(name).value = pair[name];
    }
    show();
  };
  field('objective').append(...[...trials.keys()].map((it) => option(it, it)));
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('input', (event) => {
    if (event.target.name === 'objective') choose(first(event.target.value));
    else show();
    const [left, right] = ['left', 'right'].map((it) => encodeURIComponent(field(it).value).replaceAll('%2F', '/').replaceAll('%40', '@'));
    history.replaceState(null, '', `#side-by-side?left=${left}&right=${right}`);
  });
  const follow = () => {
    const pair = asked(location.hash);
    if (!pair) return;
    choose(pair);
    document.getElementById('side-by-side').scrollIntoView();
  };
  box.hidden = false;
  choose(proposed[0] || first([...trials.keys()][0]));
  addEventListener('hashchange', follow);
  follow();
})();
