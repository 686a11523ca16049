// A click on an image shows it large, with its text, address and uid. It sets text; nothing becomes markup.
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
