"""The scripts of the static pages: a slider under a histogram moves its threshold and says what that would change; a click enlarges an
image. They read numbers and set text; nothing becomes markup."""

#: A click on an image shows it large, with its text, address and uid.
ENLARGE = """
const large = document.createElement('dialog');
large.className = 'large';
const make = (tag, words, kind) => { const e = document.createElement(tag); e.textContent = words || ''; e.className = kind || ''; return e; };
document.body.append(large);
large.addEventListener('click', e => { if (e.target.localName !== 'a' && !getSelection().toString()) large.close(); });
document.addEventListener('click', e => {
  const card = e.target.closest('[data-uid]'), image = e.target.closest('.pic')?.querySelector('img');
  if (!card || !image) return;
  const link = card.querySelector('a')?.cloneNode(true);
  if (link) { link.textContent = link.href; link.className = ''; }
  large.replaceChildren(image.cloneNode(), make('p', card.querySelector('.text')?.textContent), ...(link ? [link] : []), make('p', 'uid ' + card.dataset.uid, 'dim'));
  large.showModal();
});
"""

#: A slider under each histogram.
SLIDERS = """
for (const chart of document.querySelectorAll('.chart[data-bins]')) {
  const d = JSON.parse(chart.dataset.bins), slider = chart.querySelector('input'), line = chart.querySelector('.moved');
  const sum = (list, from, to) => list.slice(from, to).reduce((a, b) => a + b, 0);
  const n = x => Math.round(x).toLocaleString('en'), bins = d.kept.length;
  const applied = (at, share) => Number((d.setting.endsWith('.fraction') ? share : d.whole && d.side === 'max' ? d.edges[at] - 1 : d.edges[at]).toPrecision(4));
  const tell = () => {
    const at = +slider.value, x = at / bins * 340, from = d.side === 'min' ? at : 0, to = d.side === 'min' ? bins : at;
    line.setAttribute('x1', x); line.setAttribute('x2', x);
    const all = sum(d.kept) + sum(d.mine) + sum(d.other), pass = sum(d.kept, from, to) + sum(d.mine, from, to) + sum(d.other, from, to);
    const leave = sum(d.kept) - sum(d.kept, from, to), enter = sum(d.mine, from, to);
    const value = Number(d.edges[at].toPrecision(4)).toLocaleString('en', {maximumSignificantDigits: 4});
    const sign = d.side === 'min' ? '\u2265 ' : d.whole ? '< ' : '\u2264 ';
    chart.querySelector('output').textContent = sign + value + ': ' + n(pass) + ' of ' + n(all) + ' rows pass (' +
      (100 * pass / Math.max(1, all)).toFixed(1) + ' %). ' +
      (at === d.at ? 'This is the threshold.' :
      (enter ? n(enter) + ' dropped by it would enter, unless a later step drops them; ' : '') + n(leave) + ' kept now would leave.' +
      (d.setting ? ' Apply: --set ' + d.setting + '=' + applied(at, pass / Math.max(1, all)) : ''));
  };
  slider.addEventListener('input', tell); tell();
}
"""
