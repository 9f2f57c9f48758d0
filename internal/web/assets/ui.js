// Dialogs, menus, filters, the theme: what is a link or a form without script
// becomes quicker with it.
import { all, one, toast } from './dom.js';

for (const el of all('[data-script][hidden]')) el.hidden = false;

document.addEventListener('click', (e) => {
  const open = e.target.closest('[data-open]');
  const dialog = open && document.getElementById(open.dataset.open);
  if (dialog && !e.metaKey && !e.ctrlKey) {
    e.preventDefault();
    for (const d of all('dialog[open]')) d.close();
    for (const d of all('.menu-d[open]')) d.open = false;
    dialog.showModal();
    return;
  }
  if (e.target.closest('[data-close]')) e.target.closest('dialog')?.close();
  if (e.target.matches('dialog[open]') && outside(e)) e.target.close();
  for (const d of all('.menu-d[open]')) if (!d.contains(e.target)) d.open = false;
});

// outside tells a click on the backdrop from one on the dialog's own padding.
function outside(e) {
  const r = e.target.getBoundingClientRect();
  return e.clientX < r.left || e.clientX > r.right || e.clientY < r.top || e.clientY > r.bottom;
}

document.addEventListener('keydown', (e) => {
  if (e.key !== 'Escape') return;
  for (const d of all('dialog[open]')) { e.preventDefault(); d.close(); }
  for (const d of all('.menu-d[open]')) { d.open = false; one('summary', d).focus(); }
});

// A form is sent once; its button says so without changing its width.
document.addEventListener('submit', (e) => {
  const form = e.target;
  if (form.matches('[data-theme-form]')) return theme(e);
  if (form.method !== 'post') return;
  if (form.dataset.sent) { e.preventDefault(); return; }
  form.dataset.sent = '1';
  const b = e.submitter;
  if (b) { b.style.minWidth = `${b.offsetWidth}px`; b.setAttribute('aria-busy', 'true'); }
});
addEventListener('pageshow', () => { for (const f of all('form[data-sent]')) { delete f.dataset.sent; one('[aria-busy]', f)?.removeAttribute('aria-busy'); } });

async function theme(e) {
  const value = e.submitter?.value;
  if (!value) return;
  e.preventDefault();
  const root = document.documentElement;
  if (value === 'system') delete root.dataset.theme; else root.dataset.theme = value;
  const quick = one('.theme-form button');
  if (quick) quick.value = value === 'dark' ? 'light' : value === 'light' ? 'system' : 'dark';
  const res = await fetch(e.target.action, { method: 'POST', body: new URLSearchParams({ theme: value }), headers: { Accept: 'application/json' } });
  if (!res.ok) toast('The theme is kept for this page only: the server did not answer.');
}

// data-filter hides what does not hold the typed text, by words or by state.
document.addEventListener('input', (e) => {
  const sel = e.target.dataset?.filter;
  if (!sel) return;
  const want = e.target.value.trim().toLowerCase();
  for (const el of all(sel)) {
    const words = `${el.textContent} ${one('[role=img]', el)?.getAttribute('aria-label') ?? ''}`.toLowerCase();
    el.hidden = !!want && !words.includes(want);
  }
});

// The palette narrows as you type; Enter takes the first that is left, or
// searches builds when nothing is.
const palette = one('#palette');
palette?.addEventListener('input', (e) => {
  const want = e.target.value.trim().toLowerCase();
  for (const el of all('[data-list] > :is(a, button)', palette)) el.hidden = !!want && !el.textContent.toLowerCase().includes(want);
  for (const el of all('.cap', palette)) el.hidden = !!want;
  mark(items()[0]);
});
palette?.addEventListener('keydown', (e) => {
  const list = items(), at = list.findIndex((x) => x.classList.contains('on'));
  if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
    e.preventDefault();
    mark(list[(at + (e.key === 'ArrowDown' ? 1 : -1) + list.length) % list.length]);
  }
  if (e.key === 'Enter' && e.target.matches('input') && list[at]) { e.preventDefault(); list[at].click(); }
});
const items = () => all('[data-list] > :is(a, button):not([hidden])', palette);
function mark(el) {
  for (const x of items()) x.classList.toggle('on', x === el);
  el?.scrollIntoView({ block: 'nearest' });
}

one('.sp[aria-current]')?.scrollIntoView({ block: 'nearest' });
for (const d of all('dialog[data-auto]')) d.showModal();
