'use strict';
// Every text is set as text: nothing that a candidate said is ever read as markup.
const byId = id => document.getElementById(id);
const LINES = 300, LOG = 200000;
const mayLeave = !location.pathname.endsWith('/-/live');
const base = mayLeave ? './' : '../';
let ahead = 0, last = null, kept = [], following = null, shown = null, from = 0, stale = false;

function make(tag, text, name) {
  const it = document.createElement(tag);
  if (text !== undefined && text !== null) it.textContent = text;
  if (name) it.className = name;
  return it;
}
function row(cells) {
  const tr = make('tr');
  for (const [content, name] of cells) {
    const td = make('td', null, name);
    if (content instanceof Node) td.append(content); else td.textContent = content ?? '–';
    tr.append(td);
  }
  return tr;
}
// What has not changed is left alone, so that what is focused or selected stays so.
function fill(it, parts, key) {
  if (it.dataset.key === key) return;
  it.dataset.key = key;
  it.replaceChildren(...parts);
}
function time(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 100) return s.toFixed(s < 10 ? 1 : 0) + ' s';
  const m = Math.floor(s / 60);
  return m < 60 ? `${m}m ${String(Math.floor(s % 60)).padStart(2, '0')}s` : `${Math.floor(m / 60)}h ${String(m % 60).padStart(2, '0')}m`;
}
function size(bytes) {
  if (bytes < 1024) return bytes + ' B';
  if (bytes < 1 << 20) return (bytes / 1024).toFixed(1) + ' KiB';
  return (bytes / (1 << 20)).toFixed(1) + ' MiB';
}
const points = it => it === null || it === undefined ? null : Number(it).toFixed(1);
const address = path => base + path.split('/').map(encodeURIComponent).join('/');
function link(path, text) {
  const a = make('a', text);
  a.href = address(path);
  return a;
}
function opener(trial) {
  const it = make('button', trial, 'link');
  it.type = 'button';
  it.addEventListener('click', () => open(trial));
  return it;
}
function files(trial, list, more) {
  const it = make('span');
  list.forEach((file, at) => {
    if (at) it.append(', ');
    it.append(file.path === null ? file.name : link(trial + '/' + file.path, file.name), ` (${size(file.bytes)})`);
  });
  if (more) it.append(` and ${more} more`);
  return it;
}
const tone = end => end === 'passed' ? 'good' : ['running', 'waiting', 'not run'].includes(end) ? 'soft' : 'bad';

function state(it) {
  last = it;
  ahead = it.now - Date.now();
  const c = it.counts;
  document.title = `${it.status === 'running' ? `${c.ended}/${c.planned}` : it.status} · forge`;
  byId('title').textContent = it.run ? `forge run ${it.run}` : 'forge';
  byId('bar').max = Math.max(1, c.planned);
  byId('bar').value = c.ended;
  byId('counts').textContent = `${c.ended} of ${c.planned} trials ended: ${c.passed} passed, ${c.failed} failed`
    + (c.lost ? `, ${c.lost} lost` : '') + (c.not_run ? `, ${c.not_run} not run` : '') + `; ${c.running} running`
    + (it.left ? `; ${it.left}` : '');
  const s = it.standings || { rows: [], more: 0, leads: null };
  byId('leads').textContent = s.leads ? (it.status === 'running' ? 'So far: ' : '') + s.leads : 'Nobody leads yet.';
  const standings = s.rows.map(r => row([
    [r.ranks ? (r.ranks[0] === r.ranks[1] ? r.ranks[0] : r.ranks.join('–')) : null, 'n'], [r.candidate], [points(r.score), 'n'],
    [r.interval ? r.interval.map(points).join('–') : null, 'n'], [`${r.passed}/${r.judged}` + (r.lost ? ` (${r.lost} open)` : ''), 'n'], [points(r.quality), 'n'],
    [r.median_seconds === null ? null : time(r.median_seconds * 1000), 'n'], [r.note || '', 'any'],
  ]));
  if (s.more) standings.push(row([['', 'n'], [`… and ${s.more} more`]]));
  fill(byId('standings'), standings, JSON.stringify(s));
  running();
  fill(byId('recent'), it.recent.map(r => row([[opener(r.path)], [make('span', r.text, tone(r.end)), 'any'], [files(r.path, r.files, r.more_files), 'any']])), JSON.stringify(it.recent));
  byId('s-failures').hidden = it.failures.length === 0;
  fill(byId('failures'), it.failures.map(f => {
    const div = make('div');
    const p = make('p');
    p.append(opener(f.path), ' ', make('span', f.text, 'bad'));
    div.append(p);
    if (f.said.length) div.append(make('pre', f.said.join('\n')));
    return div;
  }), JSON.stringify(it.failures));
  byId('s-warnings').hidden = it.warnings.length === 0;
  const warnings = it.warnings.map(w => make('li', w));
  if (it.more_warnings) warnings.push(make('li', `… and ${it.more_warnings} more`));
  fill(byId('warnings'), warnings, JSON.stringify(it.warnings));
  status();
  // The report is the page then; who reads a log is asked first, as long as the server stays.
  if (mayLeave && it.report && (it.closing || shown === null)) location.reload();
}
function status() {
  if (!last) return;
  const it = last, gone = Date.now() + ahead - it.started;
  const texts = {
    running: `Running for ${time(gone)}` + (it.stopped ? `; stopping: ${it.stopped}` : ''),
    over: `Over, after ${time(it.took_ms ?? 0)}` + (it.report ? '' : '; its report is not there yet'),
    'broken off': 'Broken off: nobody is at this run any more, and it never said that it was over',
  };
  const text = (stale ? 'Not connected, trying again. ' : '') + (it.started ? texts[it.status] : 'Waiting for the run to begin')
    + (it.unknown ? `; ${it.unknown} lines of its journal make no sense` : '');
  const p = byId('status');
  if (p.dataset.text === text) return;
  p.dataset.text = text;
  p.textContent = text;
  if (it.report && mayLeave) {
    const a = make('a', 'show the report');
    a.href = './';
    p.append('; ', a);
  }
}
function running() {
  const it = last, now = Date.now() + ahead;
  const rows = it.running.map(r => row([
    [opener(r.path)], [r.phase + (r.attempt > 1 ? ` (attempt ${r.attempt})` : '')], ['', 'n'], ['', 'n'],
  ]));
  const more = it.counts.running - it.running.length;
  if (more > 0) rows.push(row([[`… and ${more} more`], [''], [''], ['']]));
  const body = byId('running');
  fill(body, rows, JSON.stringify([it.running, more]));
  it.running.forEach((r, at) => {
    body.rows[at].cells[2].textContent = time(now - r.phase_since);
    body.rows[at].cells[3].textContent = time(now - r.since);
  });
}
setInterval(() => { if (last && !document.hidden && last.status === 'running') { status(); running(); } }, 1000);

function draw() {
  const wanted = byId('with').value.toLowerCase(), pre = byId('lines');
  const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
  pre.textContent = kept.filter(text => text.toLowerCase().includes(wanted)).join('\n');
  if (atEnd) pre.scrollTop = pre.scrollHeight;
}
let drawing = false;
function line(text) {
  kept.push(text);
  if (kept.length > LINES) kept.splice(0, kept.length - LINES);
  if (!drawing) { drawing = true; requestAnimationFrame(() => { drawing = false; draw(); }); }
}
byId('with').addEventListener('input', draw);

const news = new EventSource(base + '-/events');
news.addEventListener('state', event => { stale = false; state(JSON.parse(event.data)); });
news.addEventListener('gap', () => line('… some lines are left out …'));
news.addEventListener('line', event => {
  const it = JSON.parse(event.data);
  line(new Date(it.at).toLocaleTimeString() + '  ' + it.text);
});
news.addEventListener('error', () => { stale = true; status(); });

// One trial: what is known of it, and its logs as they come.
function open(trial) {
  close();
  shown = trial;
  byId('trial').hidden = false;
  byId('h-trial').textContent = trial;
  byId('folder').href = address(trial + '/');
  byId('h-trial').focus();
  const logs = {};
  following = new EventSource(base + '-/log/' + trial.split('/').map(encodeURIComponent).join('/'));
  following.addEventListener('log', event => {
    const it = JSON.parse(event.data);
    if (!logs[it.log]) {
      const pre = make('pre');
      pre.tabIndex = 0;
      pre.setAttribute('aria-label', it.log);
      const p = make('p');
      p.append(link(trial + '/' + it.log, it.log), it.skipped ? `: its first ${size(it.skipped)} are left out` : '');
      byId('logs').append(p, pre);
      logs[it.log] = { pre, text: '' };
    }
    const log = logs[it.log], pre = log.pre;
    const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
    log.text = ((it.again ? '' : log.text) + it.text).slice(-LOG);
    pre.textContent = log.text;
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  });
  following.addEventListener('end', () => {
    if (shown !== trial) return;
    following.close();
    about(trial);
  });
  about(trial);
}
function close() {
  if (following) following.close();
  following = shown = null;
  byId('trial').hidden = true;
  byId('about').replaceChildren();
  byId('logs').replaceChildren();
}
byId('close').addEventListener('click', close);
async function about(trial) {
  const answer = await fetch(base + '-/trial/' + trial.split('/').map(encodeURIComponent).join('/')).catch(() => null);
  if (shown !== trial) return;
  if (!answer || answer.status !== 200) {
    byId('about').replaceChildren(make('p', 'It has not ended yet.', 'soft'));
    return;
  }
  const it = await answer.json();
  if (shown !== trial) return;
  const parts = [make('p', it.text)];
  const list = items => { const ul = make('ul'); ul.append(...items.map(([text, name]) => make('li', text, name))); return ul; };
  if (it.gates.length) parts.push(make('h3', 'Gates'), list(it.gates.map(g => [`${g.passed ? 'held' : 'failed'}: ${g.gate}${g.why ? ': ' + g.why : ''}`, g.passed ? '' : 'bad'])));
  if (it.scorers.length) parts.push(make('h3', 'Scorers'), list(it.scorers.map(s => [`${points(s.points) ?? 'no'} points: ${s.scorer}${s.why ? ': ' + s.why : ''}`])));
  if (it.warnings.length) parts.push(make('h3', 'Warnings'), list(it.warnings.map(w => [w])));
  const p = make('p', 'Artifacts: ');
  p.append(it.files.length ? files(trial, it.files, it.more_files) : it.no_artifact || 'none');
  parts.push(p);
  byId('about').replaceChildren(...parts);
}

// The list of all, a hundred at once.
async function look(at) {
  const asked = new URLSearchParams({ from: at });
  for (const name of ['candidate', 'objective', 'end']) asked.set(name, byId('f-' + name).value);
  const answer = await fetch(base + '-/trials?' + asked.toString().replaceAll('+', '%20')).catch(() => null);
  if (!answer || !answer.ok) return;
  const it = await answer.json();
  for (const [name, list] of [['candidate', it.candidates], ['objective', it.objectives]]) {
    const select = byId('f-' + name);
    if (select.options.length === 1) for (const text of list || []) select.append(make('option', text));
  }
  from = it.from;
  byId('found').textContent = it.total ? `${it.from + 1} to ${it.from + it.rows.length} of ${it.total}` : 'none';
  byId('trials').replaceChildren(...it.rows.map(r => row([
    [opener(r.path)], [make('span', r.end, tone(r.end))], [points(r.score), 'n'], [r.seconds === null ? null : time(r.seconds * 1000), 'n'], [r.why || '', 'any'],
  ])));
  byId('before').disabled = it.from === 0;
  byId('after').disabled = it.from + it.rows.length >= it.total;
  byId('after').dataset.at = it.from + it.at_once;
  byId('before').dataset.at = Math.max(0, it.from - it.at_once);
}
byId('look').addEventListener('click', () => look(0));
for (const name of ['before', 'after']) byId(name).addEventListener('click', () => look(byId(name).dataset.at));
