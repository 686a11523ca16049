// The page of `curate explore`. Everything from a run is set as text or as an attribute; nothing is parsed as markup.
'use strict';

const TABS = { rows: 'Rows', map: 'Map', duplicates: 'Duplicates', thresholds: 'Thresholds' };
const COLOURS = ['#4e79a7', '#f28e2b', '#59a14f', '#e15759', '#b07aa1', '#76b7b2', '#edc948', '#ff9da7', '#9c755f', '#86bcb6', '#d37295', '#a5a29c'];
const START = { tab: 'rows', table: '', words: '', meaning: '', conditions: [], sort: '', descending: false, page: 0, like: '', colour: 'drop_reason', step: '', moves: {} };
const opened = new Set();  // columns whose filters are unfolded
let about, state = { ...START }, shown = [];  // shown: the rows in the order in which the dialog pages through them

// ---- small helpers

const $ = id => document.getElementById(id);
function el(tag, attributes = {}, ...inner) {
  const made = document.createElementNS(/^(svg|rect|line|path)$/.test(tag) ? 'http://www.w3.org/2000/svg' : 'http://www.w3.org/1999/xhtml', tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.assign(made.style, value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...inner.flat().filter(x => x != null && x !== ''));
  return made;
}
const n = x => Math.round(x).toLocaleString('en');
const alike = x => x >= 1 ? 'identical' : x > .9995 ? '> 0.999' : number(x);
function number(x) {
  if (typeof x === 'boolean') return x ? 'yes' : 'no';
  if (typeof x !== 'number') return x == null ? '–' : String(x);
  return Number.isInteger(x) || Math.abs(x) >= 1000 ? n(x) : String(+x.toPrecision(3));
}
const counted = (x, word) => `${n(x)} ${word}${x === 1 ? '' : 's'}`;
const table = () => about.tables.find(t => t.name === state.table);
const wait = (act, ms = 250) => { let timer; return (...args) => { clearTimeout(timer); timer = setTimeout(() => act(...args), ms); }; };

async function api(name, asked = {}, options = {}) {
  const answer = await fetch(`/api/${name}?q=${encodeURIComponent(JSON.stringify(asked))}`, options);
  const made = answer.headers.get('content-type')?.includes('json') ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Error(made.error);
  return made;
}
// Only the answer to the latest question of its kind is drawn.
const latest = {};
async function into(place, kind, ask, draw) {
  const mine = latest[kind] = {};
  place.classList.add('busy');
  try {
    const made = await ask();
    if (latest[kind] === mine) place.replaceChildren(...[draw(made)].flat().filter(Boolean));
  } catch (error) {
    if (latest[kind] === mine) place.replaceChildren(el('p', { class: 'error', role: 'alert' }, error.message));
  }
  if (latest[kind] === mine) place.classList.remove('busy');
}

function go(change, replace = false) {
  state = { ...state, ...('page' in change ? {} : { page: 0 }), ...change };
  const kept = Object.fromEntries(Object.entries(state).filter(([k, v]) => JSON.stringify(v) !== JSON.stringify(START[k])));
  history[replace ? 'replaceState' : 'pushState'](null, '', '#' + encodeURIComponent(JSON.stringify(kept)));
  draw();
}
function fromAddress() {
  try { state = { ...START, table: about.tables[0].name, ...JSON.parse(decodeURIComponent(location.hash.slice(1)) || '{}') }; } catch { state = { ...START }; }
  if (!about.tables.some(t => t.name === state.table)) state.table = about.tables[0].name;
  if (!TABS[state.tab]) state.tab = 'rows';
}

// ---- rows as cards

const broken = words => words.split(/(?<=[_:])/).flatMap((w, i) => i ? [el('wbr'), w] : [w]);  // long names break at _ and :
const fate = v => el('div', { class: `fate ${v.drop_reason ? 'drop' : 'keep'}` }, v.drop_reason ? broken(v.drop_reason) : v.shard == null ? 'kept' : `kept · shard ${v.shard}`);
const picture = (row, side = 'small') => row.image ? el('img', { src: `/image/${side}/${row.values.uid}`, alt: '', loading: 'lazy' }) : el('span', {}, row.missing);
function card(row, among, scores = [], small = false) {
  const v = row.values, lead = leading(v).concat(scores).filter((c, i, all) => v[c] != null && all.indexOf(c) === i).slice(0, small ? 1 : 3);
  if (row.similarity != null) lead.unshift('similarity');
  return el('button', { class: 'card', type: 'button', 'data-uid': v.uid, onclick: () => open(among, among.indexOf(row)) },
    state.table === 'images' || row.image ? el('div', { class: 'pic' }, picture(row)) : '',
    el('div', { class: 'body' }, el('div', { class: 'text', dir: 'auto' }, row.words), fate(v),
      lead.map(c => el('div', { class: 'score' }, el('span', {}, c), el('b', {}, c === 'similarity' ? alike(row.similarity) : number(v[c]))))));
}
// The score that decided comes first.
const leading = v => table().bounds.filter(b => b.rule === v.drop_reason).map(b => b.column);
const grid = (rows, scores, small) => el('div', { class: small ? 'strip' : 'grid' }, rows.map(r => card(r, rows, scores, small)));

// ---- filters

function meets(column, operator) { return state.conditions.find(c => c.column === column && c.operator === operator); }
function condition(column, operator, value) {
  const rest = state.conditions.filter(c => !(c.column === column && (c.operator === operator || operator === 'is' || c.operator === 'missing')));
  go({ conditions: value == null ? rest : [...rest, { column, operator, value }], like: '', meaning: '' });
}
const SIGNS = { min: '≥', max: '≤', is: '=', not: '≠', has: 'contains', present: 'is there', missing: 'is missing' };
function chips() {
  const remove = (words, act) => el('button', { type: 'button', title: 'remove this filter', onclick: act }, `${words} ×`);
  return el('div', { class: 'chips' },
    state.conditions.map(c => remove(c.column === 'drop_reason' && c.operator === 'missing' ? 'kept' : `${c.column} ${SIGNS[c.operator]} ${['present', 'missing'].includes(c.operator) ? '' : number(c.value)}`, () => go({ conditions: state.conditions.filter(x => x !== c) }))),
    state.words ? remove(`contains “${state.words}”`, () => go({ words: '' })) : '',
    state.meaning ? remove(`looks like “${state.meaning}”`, () => go({ meaning: '' })) : '',
    state.like ? remove('looks like an image', () => go({ like: '' })) : '',
    state.conditions.length + !!state.words > 1 ? remove('all filters', () => go({ conditions: [], words: '' })) : '');
}
function value(words, rows, of, kept, pressed, act) {
  return el('button', { class: 'value', type: 'button', 'aria-pressed': String(pressed), title: words, onclick: act }, el('span', {}, words), el('span', {}, n(rows)),
    el('i', { style: { width: `${Math.max(1, 100 * rows / of)}%` } }, el('b', { style: { width: `${rows ? 100 * kept / rows : 0}%` } })));
}
function filters() {
  const t = table(), find = el('input', { type: 'search', placeholder: 'find a column', 'aria-label': 'find a column' });
  const columns = Object.keys(t.columns).filter(c => !['kept', 'drop_reason'].includes(c)).sort((a, b) => rank(t, a) - rank(t, b));
  const blocks = columns.map(c => facet(t, c));
  find.addEventListener('input', () => blocks.forEach((b, i) => { b.hidden = !columns[i].toLowerCase().includes(find.value.toLowerCase()); }));
  const reasons = Object.entries(t.reasons).sort((a, b) => (b[0] === 'kept') - (a[0] === 'kept') || b[1] - a[1]);
  const is = r => r === 'kept' ? meets('drop_reason', 'missing') : meets('drop_reason', 'is')?.value === r;
  $('filters').replaceChildren(
    tables(), el('details', { open: true }, el('summary', {}, 'Outcome'), folded(reasons, is, ([r, k]) => value(r, k, t.rows, r === 'kept' ? k : 0, is(r), () => {
      const rest = state.conditions.filter(c => c.column !== 'drop_reason');
      go({ conditions: is(r) ? rest : [...rest, r === 'kept' ? { column: 'drop_reason', operator: 'missing' } : { column: 'drop_reason', operator: 'is', value: r }], like: '', meaning: '' });
    }))), find, ...blocks);
}
function folded(reasons, is, made) {
  const first = reasons.filter((r, i) => i < 10 || is(r[0])), rest = reasons.filter(r => !first.includes(r));
  return [...first.map(made), rest.length ? el('details', {}, el('summary', { class: 'dim' }, `${rest.length} more`), rest.map(made)) : ''];
}
const tables = () => about.tables.length < 2 ? '' : el('select', { 'aria-label': 'table', onchange: e => go({ ...START, tab: state.tab, table: e.target.value }) },
  about.tables.map(x => el('option', { value: x.name, selected: x.name === state.table }, `${x.name} (${n(x.rows)})`)));
const rank = (t, c) => t.scores.indexOf(c) + 1 || (t.columns[c] === 'text' ? 500 : 400) + (/^(uid|source_|payload|fetched|final|sha)/.test(c) ? 500 : 0);
function facet(t, column) {
  const used = state.conditions.some(c => c.column === column), inner = el('div'), block = el('details', { class: used ? 'used' : '' }, el('summary', {}, column), inner);
  const load = () => into(inner, `facet ${column}`, () => api('facet', { ...question(), column }), f => f.kind === 'number' ? ends(column, f) : values(column, f));
  block.addEventListener('toggle', () => { if (block.open) { opened.add(column); load(); } else opened.delete(column); });
  block.open = used || opened.has(column);
  return block;
}
function ends(column, f) {
  const end = side => el('input', { type: 'number', step: 'any', placeholder: side, 'aria-label': `${column} ${side}`, value: meets(column, side)?.value ?? '', onchange: e => condition(column, side, e.target.value === '' ? null : +e.target.value) });
  return [f.rows ? histogram(f.edges, [['k', f.kept], ['d', f.dropped]]) : el('p', { class: 'sub' }, 'no values'),
    f.rows ? range(f) : '', el('div', { class: 'ends' }, end('min'), end('max'))];
}
function values(column, f) {
  const most = Math.max(1, ...f.values.map(v => v.rows)), text = table().columns[column] === 'text';
  const is = v => v == null ? meets(column, 'missing') : meets(column, 'is')?.value === v;
  return [text ? el('input', { type: 'text', placeholder: 'contains', 'aria-label': `${column} contains`, value: meets(column, 'has')?.value ?? '', onchange: e => condition(column, 'has', e.target.value || null) }) : '',
    ...f.values.slice(0, 20).map(v => value(v.value ?? 'none', v.rows, most, v.kept, !!is(v.value), () => {
      if (is(v.value)) go({ conditions: state.conditions.filter(c => c.column !== column) });
      else if (v.value == null) go({ conditions: [...state.conditions.filter(c => c.column !== column), { column, operator: 'missing' }] });
      else condition(column, 'is', v.value);
    })), f.more ? el('p', { class: 'sub' }, 'the most frequent values') : ''];
}
// Bins are drawn equally wide, whatever they span; a value is placed between the edges that it lies between.
function place(edges, value) {
  const last = edges.length - 1, i = Math.min(last - 1, Math.max(0, edges.findLastIndex(e => e <= value)));
  return Math.min(1, Math.max(0, (i + (value - edges[i]) / (edges[i + 1] - edges[i] || 1)) / last));
}
function valueAt(edges, share) {
  const at = share * (edges.length - 1), i = Math.min(edges.length - 2, Math.floor(at));
  return edges[i] + (at - i) * (edges[i + 1] - edges[i]);
}
function histogram(edges, series, marks = []) {
  const W = 340, H = 90, bins = edges.length - 1, w = W / bins;
  const totals = edges.slice(1).map((_, i) => series.reduce((a, s) => a + s[1][i], 0)), order = [...totals].sort((a, b) => b - a);
  const most = Math.min(order[0], 3 * order[1] || order[0]) || 1;  // one spike does not flatten all others
  const rects = [], base = totals.map(() => 0);
  for (const [kind, counts] of series) counts.forEach((c, i) => {
    const tall = Math.min(H - base[i], c ? Math.max(.8, c / most * H) : 0);
    if (tall > 0) rects.push(el('rect', { class: kind, x: i * w, y: H - base[i] - tall, width: Math.max(.8, w - .8), height: tall }));
    base[i] += tall;
  });
  totals.forEach((t, i) => { if (t > most) rects.push(el('path', { class: 'bound', fill: 'none', d: `M${i * w - 1} 8 l${w / 2 + 1} -4 l${w / 2 + 1} 4` })); });
  const lines = marks.map(([kind, at]) => el('line', { class: kind, x1: place(edges, at) * W, x2: place(edges, at) * W, y1: 0, y2: H }));
  return el('svg', { viewBox: `0 0 ${W} ${H + 1}`, role: 'img', 'aria-label': 'histogram' }, rects, lines);
}
const range = f => el('div', { class: 'score dim' }, el('span', {}, number(f.edges[0])), el('span', {}, f.edges.at(-1) - f.edges.at(-2) > 1.5 * (f.edges[1] - f.edges[0]) ? 'log scale' : ''), el('span', {}, number(f.edges.at(-1))));

// ---- rows

const question = () => ({ table: state.table, conditions: state.conditions, words: state.words, sort: state.sort, descending: state.descending, page: state.page });
let upload;
function rowsTab(main) {
  const t = table(), found = el('div'), words = el('input', { type: 'search', value: state.meaning || state.words, placeholder: 'search', 'aria-label': 'search', name: 'words' });
  const how = el('select', { 'aria-label': 'how to search', name: 'how' }, el('option', { value: 'words' }, 'in the text'), about.embedding ? el('option', { value: 'meaning', selected: !!state.meaning }, 'by what images show') : '');
  const form = el('form', { role: 'search', onsubmit: e => { e.preventDefault(); go(how.value === 'words' ? { words: words.value.trim(), meaning: '', like: '' } : { meaning: words.value.trim(), words: '', like: '' }); } }, words, how, el('button', {}, 'Search'));
  const file = el('input', { type: 'file', accept: 'image/*', hidden: true, 'aria-label': 'image to search for', onchange: () => { upload = file.files[0]; go({ like: 'file', meaning: '', words: '' }); } });
  const sort = el('select', { 'aria-label': 'sort by', onchange: e => go({ sort: e.target.value }) }, [['', 'order of the source'], ['*', 'random order'], ...Object.keys(t.columns).sort((a, b) => rank(t, a) - rank(t, b)).map(c => [c, `by ${c}`])].map(([v, w]) => el('option', { value: v, selected: v === state.sort }, w)));
  const turn = el('button', { type: 'button', 'aria-label': 'direction', disabled: !state.sort || state.sort === '*', onclick: () => go({ descending: !state.descending }) }, state.descending ? '↓ largest first' : '↑ smallest first');
  main.replaceChildren(el('div', { class: 'tools' }, form, about.embedding ? [file, el('button', { type: 'button', onclick: () => file.click() }, 'By an image…')] : ''), chips(), found);
  const scores = state.sort && t.scores.includes(state.sort) ? [state.sort] : t.scores.slice(0, 2);
  const near = state.like === 'file' ? upload && (() => api('image', {}, { method: 'POST', body: upload })) : state.like ? () => api('near', { uid: state.like }) : state.meaning ? () => api('near', { words: state.meaning }) : null;
  if (state.like === 'file' && !upload) return found.replaceChildren(el('p', {}, 'Choose the image again.'));
  into(found, 'rows', near || (() => api('rows', question())), made => {
    shown = made.rows;
    if (near && !made.rows.length) return el('p', {}, 'This row has no embedding: it was dropped before that step.');
    if (near) return [el('p', { class: 'count' }, `The nearest by ${about.embedding.model}, ${looked(made)}.`), grid(made.rows, scores)];
    const pages = Math.ceil(made.total / 24);
    return [el('div', { class: 'tools' }, el('span', { class: 'count' }, `${counted(made.total, 'row')} of ${n(t.rows)}`), sort, turn), made.rows.length ? grid(made.rows, scores) : el('p', {}, 'No rows fulfil these filters.'),
      pages > 1 ? el('div', { class: 'pager' }, el('button', { type: 'button', disabled: !state.page, onclick: () => go({ page: state.page - 1 }) }, '← Previous'), `page ${n(state.page + 1)} of ${n(pages)}`, el('button', { type: 'button', disabled: state.page + 1 >= pages, onclick: () => go({ page: state.page + 1 }) }, 'Next →')) : ''];
  });
}
const looked = made => made.looked < made.rows_with ? `among a sample of ${n(made.looked)} of ${n(made.rows_with)} images with embeddings` : `among all ${n(made.looked)} images with embeddings`;

// ---- one row

async function open(rows, at) {
  const row = rows[at], v = row.values, dialog = $('row'), more = el('div'), twinned = el('div'), near = el('div');
  const copy = el('button', { type: 'button', onclick: () => copied(copy, v.uid) }, 'Copy uid');
  const safe = /^https?:\/\//i.test(v.url || '') ? el('a', { href: v.url, target: '_blank', rel: 'noopener noreferrer' }, v.url) : v.url || '';
  const close = el('button', { type: 'button', 'aria-label': 'close', onclick: () => dialog.close() }, '✕');
  const step = d => el('button', { type: 'button', disabled: !rows[at + d], 'aria-label': d < 0 ? 'previous row' : 'next row', onclick: () => open(rows, at + d) }, d < 0 ? '←' : '→');
  const fields = Object.entries(v).filter(([k, x]) => x != null && !['text', 'title', 'uid', 'url', 'drop_reason', 'kept'].includes(k)).sort((a, b) => rank(table(), a[0]) - rank(table(), b[0]));
  dialog.replaceChildren(el('div', { class: 'bar-top' }, step(-1), step(1), copy, about.embedding && row.image ? el('button', { type: 'button', onclick: () => { dialog.close(); go({ tab: 'rows', like: v.uid, meaning: '', words: '', conditions: [] }); } }, 'Find similar') : '', el('span', { class: 'gap' }), close),
    el('div', { class: state.table === 'images' ? 'two' : '' }, state.table !== 'images' ? '' : el('div', {}, row.image ? el('img', { class: 'large', alt: '', src: `/image/large/${v.uid}` }) : el('div', { class: 'pic' }, el('span', {}, row.missing || 'no image'))),
      el('div', {}, el('h2', { dir: 'auto' }, row.words), fate(v), el('p', { class: 'url' }, safe), el('p', { class: 'url' }, v.uid), more)), twinned, near, el('h2', {}, 'All columns'), el('div', { class: 'wide' }, el('table', {}, fields.map(([k, x]) => el('tr', {}, el('td', {}, k), el('td', {}, number(x)))))));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  dialog.onkeydown = e => { const d = { ArrowLeft: -1, ArrowRight: 1 }[e.key]; if (d && rows[at + d]) open(rows, at + d); };
  into(more, 'story', () => api('story', { uid: v.uid }), story => {
    if (story.duplicates.length) twinned.replaceChildren(el('h2', {}, 'Duplicates'), grid(twins(story.duplicates, v.uid), [], true));
    return story.stories.filter(s => s.table === state.table).slice(0, 1).map(s => [el('p', { class: 'sub' }, s.fate), steps(s.lines)]).flat();
  });
  if (about.embedding && row.image) into(near, 'near', () => api('near', { uid: v.uid, n: 12 }), made => !made.rows.length ? '' : [el('h2', {}, 'Nearest images'), el('p', { class: 'sub' }, looked(made)), grid(made.rows, [], true)]);
}
const twins = (pairs, uid) => pairs.map(p => ({ ...(p.dropped.values.uid === uid ? p.kept : p.dropped), similarity: p.similarity }));
function steps(lines) {
  const kind = o => /^(dropped|failed)/.test(o) ? 'drop' : o === 'passed' ? 'keep' : 'dim';
  return el('div', { class: 'wide' }, el('table', { class: 'steps' }, el('tr', {}, ['step', 'values', 'threshold', 'outcome'].map(h => el('th', {}, h))),
    lines.map(l => el('tr', {}, el('td', {}, broken(l.step)), el('td', {}, l.values.length ? l.values.map(([k, x]) => el('div', {}, k === l.step ? '' : el('span', { class: 'dim' }, broken(k)), el('span', {}, x))) : '–'), el('td', {}, l.bounds), el('td', { class: kind(l.outcome) }, broken(l.outcome))))));
}
async function copied(button, text) {
  const before = button.textContent;
  try { await navigator.clipboard.writeText(text); button.textContent = 'Copied'; } catch { button.textContent = text; return; }
  setTimeout(() => { button.textContent = before; }, 1200);
}

// ---- map

function mapTab(main) {
  if (!about.embedding) return main.replaceChildren(el('p', {}, 'This run has no CLIP embeddings; a recipe with ClipEmbed has.'));
  const t = about.tables.find(x => x.name === 'images'), place = el('div', { id: 'map' }), select = el('select', { 'aria-label': 'colour by', onchange: e => go({ colour: e.target.value }, true) },
    Object.entries(t.columns).filter(([c]) => !/^(uid|url|text|final_url|sha256|payload|source_key|fetched_at|key)/.test(c)).map(([c]) => el('option', { value: c, selected: c === state.colour }, c)));
  main.replaceChildren(el('div', { class: 'tools' }, el('label', {}, 'colour by ', select)), place);
  const ask = () => api('map', { colour: state.colour });
  const better = async () => { const m = place.isConnected && await ask(); if (m?.pending) setTimeout(better, 3000); else if (m && place.isConnected) into(place, 'map', () => m, drawMap); };
  into(place, 'map', ask, m => { if (m.pending) setTimeout(better, 3000); return drawMap(m); });
}
function drawMap(m) {
  const canvas = el('canvas', { 'aria-label': 'map of embeddings' }), picked = el('div'), off = new Set(), view = { x: 0, y: 0, k: 1 };
  const sorted = m.values && [...m.values].filter(x => typeof x === 'number').sort((a, b) => a - b), low = sorted?.[Math.floor(sorted.length * .02)], high = sorted?.[Math.floor(sorted.length * .98)];
  const tint = i => m.legend ? COLOURS[m.classes[i] % COLOURS.length] : typeof m.values[i] !== 'number' ? '#8888' : `hsl(${260 - 215 * Math.min(1, Math.max(0, (m.values[i] - low) / (high - low || 1)))} 75% 52%)`;
  const keys = m.legend ? m.legend.map((l, i) => el('button', { type: 'button', 'aria-pressed': 'true', onclick: e => { off.has(i) ? off.delete(i) : off.add(i); e.currentTarget.setAttribute('aria-pressed', String(!off.has(i))); paint(); } }, el('i', { style: { background: COLOURS[i % COLOURS.length] } }), `${l.value} ${n(l.rows)}`))
    : [el('span', { class: 'sub' }, `${m.column}: blue ${number(low)} … red ${number(high)}`)];
  const visible = i => !(m.legend && off.has(m.classes[i])), size = () => [canvas.clientWidth, canvas.clientHeight];
  const at = i => { const [w, h] = size(); return [((m.x[i] - view.x) * view.k * .94 + .03) * w, ((1 - m.y[i] - view.y) * view.k * .94 + .03) * h]; };
  let box = null;
  const paint = () => {
    const [w, h] = size(), scale = devicePixelRatio || 1, c = canvas.getContext('2d');
    canvas.width = w * scale; canvas.height = h * scale; c.scale(scale, scale); c.globalAlpha = m.uids.length > 4000 ? .6 : .85;
    const r = m.uids.length > 4000 ? 2 : 3.5;
    for (let i = 0; i < m.uids.length; i++) if (visible(i)) { const [x, y] = at(i); c.fillStyle = tint(i); c.beginPath(); c.arc(x, y, r, 0, 7); c.fill(); }
    if (box) { c.globalAlpha = 1; c.strokeStyle = '#888'; c.setLineDash([4, 3]); c.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]); }
  };
  const where = e => { const r = canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
  const closest = (x, y) => { let best = -1, far = 144; for (let i = 0; i < m.uids.length; i++) if (visible(i)) { const [px, py] = at(i), d = (px - x) ** 2 + (py - y) ** 2; if (d < far) { far = d; best = i; } } return best; };
  const hint = $('hint');
  const words = wait(async uid => { const row = (await api('near', { uids: [uid] })).rows[0]; if (row && hint.dataset.uid === uid) hint.append(el('div', { dir: 'auto' }, row.words)); }, 120);
  canvas.addEventListener('pointermove', e => {
    const [x, y] = where(e);
    if (box) { box[2] = x; box[3] = y; return paint(); }
    const i = closest(x, y);
    if (i < 0) { hint.hidden = true; return; }
    if (hint.dataset.uid !== m.uids[i]) {
      hint.dataset.uid = m.uids[i];
      hint.replaceChildren(el('img', { src: `/image/small/${m.uids[i]}`, alt: '' }), el('div', { class: 'dim' }, m.legend ? m.legend[m.classes[i]].value : `${m.column} ${number(m.values[i])}`));
      words(m.uids[i]);
    }
    Object.assign(hint.style, { left: `${Math.min(e.clientX + 14, innerWidth - 205)}px`, top: `${Math.min(e.clientY + 14, innerHeight - 200)}px` });
    hint.hidden = false;
  });
  canvas.addEventListener('pointerleave', () => { hint.hidden = true; });
  canvas.addEventListener('pointerdown', e => { if (e.pointerType === 'mouse') { const [x, y] = where(e); box = [x, y, x, y]; canvas.setPointerCapture(e.pointerId); } });
  canvas.addEventListener('pointerup', e => {
    const [x, y] = where(e), [x0, y0] = box || [x, y], dragged = Math.abs(x - x0) + Math.abs(y - y0) > 8;
    box = null; hint.hidden = true; paint();
    const inside = i => { const [px, py] = at(i); return px >= Math.min(x, x0) && px <= Math.max(x, x0) && py >= Math.min(y, y0) && py <= Math.max(y, y0); };
    const chosen = dragged ? m.uids.map((_, i) => i).filter(i => visible(i) && inside(i)) : [closest(x, y)].filter(i => i >= 0);
    if (chosen.length) into(picked, 'picked', () => api('near', { uids: chosen.slice(0, 60).map(i => m.uids[i]) }), made => {
      if (!dragged) open(made.rows, 0);
      return dragged ? [el('h3', {}, `${counted(chosen.length, 'image')} in the rectangle${chosen.length > 60 ? ', 60 shown' : ''}`), grid(made.rows, table().scores.slice(0, 1), true)] : '';
    });
  });
  canvas.addEventListener('wheel', e => {
    e.preventDefault();
    const [x, y] = where(e), [w, h] = size(), fx = (x / w - .03) / .94, fy = (y / h - .03) / .94, k = Math.min(60, Math.max(1, view.k * (e.deltaY < 0 ? 1.25 : .8)));
    Object.assign(view, k === 1 ? { x: 0, y: 0, k } : { x: view.x + fx / view.k - fx / k, y: view.y + fy / view.k - fy / k, k });
    paint();
  }, { passive: false });
  new ResizeObserver(paint).observe(canvas);
  return [el('p', { class: 'count' }, `${counted(m.uids.length, 'point')}${m.uids.length < m.rows_with ? `, a sample of ${n(m.rows_with)} images with embeddings` : ', all images with embeddings'}; ${m.method}. Point at an image to see it, click to open it, drag to list several, scroll to zoom.`), el('div', { class: 'keys' }, keys), canvas, picked];
}

// ---- duplicates

function duplicatesTab(main) {
  if (!about.duplicates.length) return main.replaceChildren(el('p', {}, 'Nothing was dropped as a duplicate in this run.'));
  const found = el('div'), all = about.duplicates.reduce((a, d) => a + d.rows, 0);
  const select = el('select', { 'aria-label': 'step', onchange: e => go({ step: e.target.value }) }, el('option', { value: '' }, `all steps (${n(all)} rows)`), about.duplicates.map(d => el('option', { value: d.step, selected: d.step === state.step }, `${d.step}: ${counted(d.groups, 'group')}, ${counted(d.rows, 'row')} dropped`)));
  main.replaceChildren(el('div', { class: 'tools' }, select), found);
  into(found, 'groups', () => api('groups', { step: state.step, page: state.page }), made => {
    const pages = Math.ceil(made.total / 20);
    return [el('p', { class: 'count' }, `${counted(made.total, 'group')}, the largest first; in each the copy that was kept and those dropped for it, the least alike first`),
      el('div', { class: 'groups' }, made.groups.map(g => el('section', { class: g.members.length > 3 ? 'group whole' : 'group' }, el('h3', {}, `${g.step} · ${counted(g.rows, 'duplicate')} dropped`, g.least < 1 ? ` · similarity from ${alike(g.least)}` : ''),
        grid([...(g.kept ? [g.kept] : []), ...g.members], [], true)))),
      pages > 1 ? el('div', { class: 'pager' }, el('button', { type: 'button', disabled: !state.page, onclick: () => go({ page: state.page - 1 }) }, '← Previous'), `page ${n(state.page + 1)} of ${n(pages)}`, el('button', { type: 'button', disabled: state.page + 1 >= pages, onclick: () => go({ page: state.page + 1 }) }, 'Next →')) : ''];
  });
}

// ---- thresholds

function thresholdsTab(main) {
  const t = table(), result = el('div'), head = el('div', { class: 'apply' }), bounds = t.bounds.filter(b => t.columns[b.column] === 'number');
  if (!bounds.length) return main.replaceChildren(tables(), el('p', {}, `No step of this recipe has a threshold on ${t.name}.`));
  const ask = wait(() => into(result, 'move', () => api('move', { table: t.name, moves: Object.entries(state.moves).map(([setting, value]) => ({ setting, value })) }), made => { summary(head, t, made); return moved(made); }));
  const set = (b, v) => {
    const moves = { ...state.moves };
    delete moves[b.setting];
    if (v !== b.value) moves[b.setting] = v;
    state.moves = moves;
    history.replaceState(null, '', '#' + encodeURIComponent(JSON.stringify({ tab: 'thresholds', table: t.name, moves })));
    ask();
  };
  summary(head, t, null);
  main.replaceChildren(tables(), head, el('div', { class: 'charts' }, bounds.map(b => chart(b, set))), result);
  if (Object.keys(state.moves).length) ask();
}
function chart(b, set) {
  const inner = el('div'), block = el('div', { class: 'chart' }, el('h3', {}, b.rule === b.column ? b.column : `${b.rule}: ${b.column}`), el('div', { class: 'dim' }, `now ${b.side === 'min' ? '≥' : '≤'} ${number(b.value)}`), inner);
  into(inner, `chart ${b.setting}`, () => api('facet', { table: state.table, column: b.column }), f => {
    if (!f.rows) return el('p', { class: 'sub' }, 'no row has a value');
    const svg = el('div'), whole = Number.isInteger(b.value) && f.edges.at(-1) - f.edges[0] > 3;
    const slider = el('input', { type: 'range', min: 0, max: 400, 'aria-label': `threshold of ${b.setting}` }), exact = el('input', { type: 'number', step: 'any', 'aria-label': `value of ${b.setting}` });
    const back = el('button', { type: 'button', onclick: () => put(b.value, true) }, 'Reset');
    const put = (v, ask) => {
      slider.value = Math.round(400 * place(f.edges, v)); exact.value = v;
      svg.replaceChildren(histogram(f.edges, [['k', f.kept], ['d', f.dropped]], [['bound', b.value], ['moved', v]]));
      block.classList.toggle('changed', v !== b.value); back.disabled = v === b.value;
      if (ask) set(b, v);
    };
    slider.addEventListener('input', () => { const v = valueAt(f.edges, slider.value / 400); put(whole ? Math.round(v) : +v.toPrecision(3), true); });
    exact.addEventListener('change', () => Number.isFinite(exact.valueAsNumber) ? put(exact.valueAsNumber, true) : put(b.value, true));
    put(state.moves[b.setting] ?? b.value, false);
    return [svg, range(f), slider, el('div', { class: 'set' }, back, exact)];
  });
  return block;
}
function summary(head, t, made) {
  const kept = t.reasons.kept || 0;
  if (!made || !made.options.length) return head.replaceChildren(el('p', {}, 'Green: kept now, red: dropped. Move a slider: the page counts the rows that would leave and enter, and prints the options that apply the thresholds.'));
  const command = `curate run ${about.recipe || 'RECIPE'} … -o NEW --reuse ${about.folder} ${made.options.join(' ')}`, copy = el('button', { type: 'button', onclick: () => copied(copy, made.options.join(' ')) }, 'Copy options');
  head.replaceChildren(el('p', {}, el('b', {}, `${n(kept)} kept now: `), el('span', { class: 'drop' }, `${n(made.leave)} leave`), ', ', el('span', { class: 'keep' }, `up to ${n(made.enter)} enter`), ' (later steps may still drop them)'),
    el('div', { class: 'copy' }, el('code', {}, command), copy));
}
const moved = made => [['leaving', 'Leave', made.leave], ['entering', 'Enter, if no later step drops them', made.enter]].map(([side, words, count]) => made[side].length ? [el('h3', {}, `${words}: ${n(count)}${count > made[side].length ? `; the ${made[side].length} nearest to the threshold` : ''}`), grid(made[side], Object.keys(state.moves).map(s => table().bounds.find(b => b.setting === s)?.column), true)] : '').flat();

// ---- the page

function draw() {
  $('tabs').replaceChildren(...Object.entries(TABS).map(([id, words]) => el('button', { type: 'button', 'aria-current': id === state.tab ? 'page' : false, onclick: () => go({ tab: id }) }, words)));
  $('layout').classList.toggle('alone', state.tab !== 'rows');
  $('hint').hidden = true;
  if (state.tab === 'rows') filters();
  ({ rows: rowsTab, map: mapTab, duplicates: duplicatesTab, thresholds: thresholdsTab })[state.tab]($('main'));
}
(async () => {
  try { about = await api('about'); } catch (error) { return $('main').replaceChildren(el('p', { class: 'error', role: 'alert' }, error.message)); }
  document.title = `${about.name}: explore`;
  $('name').textContent = about.name;
  $('folder').textContent = about.tables.map(t => `${n(t.rows)} ${t.name}, ${n(t.reasons.kept || 0)} kept`).join(' · ') + ` · ${about.folder}`;
  if (innerWidth <= 760) $('side').open = false;
  fromAddress(); draw();
  addEventListener('popstate', () => { fromAddress(); draw(); });
})();
