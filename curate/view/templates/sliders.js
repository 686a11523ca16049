// A slider under each histogram moves its threshold and says what that would change. It reads numbers and sets text.
for (const chart of document.querySelectorAll('.chart[data-bins]')) {
  const d = JSON.parse(chart.dataset.bins), slider = chart.querySelector('input'), line = chart.querySelector('.moved');
  const sum = (list, from, to) => list.slice(from, to).reduce((a, b) => a + b, 0);
  const n = x => Math.round(x).toLocaleString('en'), bins = d.kept.length;
  const tell = () => {
    const at = +slider.value, x = at / bins * 340, from = d.side === 'min' ? at : 0, to = d.side === 'min' ? bins : at;
    line.setAttribute('x1', x); line.setAttribute('x2', x);
    const all = sum(d.kept) + sum(d.mine) + sum(d.other), pass = sum(d.kept, from, to) + sum(d.mine, from, to) + sum(d.other, from, to);
    const leave = sum(d.kept) - sum(d.kept, from, to), enter = sum(d.mine, from, to);
    const bound = d.whole && d.side === 'max' ? d.edges[at] - 1 : d.edges[at]; // of whole numbers the last one below the edge
    const value = Number(bound.toPrecision(4)).toLocaleString('en', {maximumSignificantDigits: 4});
    const sign = d.side === 'min' ? '≥ ' : '≤ ';
    chart.querySelector('output').textContent = sign + value + ': ' + n(pass) + ' of ' + n(all) + ' rows pass (' +
      (100 * pass / Math.max(1, all)).toFixed(1) + ' %). ' +
      (at === d.at ? 'This is the threshold.' :
      (enter ? n(enter) + ' dropped by it would enter, unless a later step drops them; ' : '') + (leave ? n(leave) + ' kept now' : 'no kept row') + ' would leave.' +
      (d.setting ? ' Apply: --set ' + d.setting + '=' + Number((d.setting.endsWith('.fraction') ? pass / Math.max(1, all) : bound).toPrecision(4)) : ''));
  };
  slider.addEventListener('input', tell); tell();
}
