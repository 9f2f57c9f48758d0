// The keyboard. Single keys are off while typing and while a dialog is open.
import { all, one, toast, typing } from './dom.js';

let prefix = '', prefixTimer;
const go = { p: 'Pipelines', b: 'Builds', a: 'Agents', s: 'Settings' };

document.addEventListener('keydown', (e) => {
  if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === 'k') {
    e.preventDefault();
    const p = one('#palette');
    if (p && !p.open) { for (const d of all('dialog[open]')) d.close(); p.showModal(); }
    return;
  }
  if (e.defaultPrevented || e.metaKey || e.ctrlKey || e.altKey || one('dialog[open]')) return;
  if (typing(e.target)) { if (e.key === 'Escape') e.target.blur(); return; }
  if (prefix === 'g') { prefix = ''; if (jump(e.key)) e.preventDefault(); return; }
  if (press(e)) e.preventDefault();
});

function jump(key) {
  const link = all('.nav a').find((a) => a.textContent === go[key]);
  link?.click();
  return !!link;
}

function press(e) {
  switch (e.key) {
    case 'g': prefix = 'g'; clearTimeout(prefixTimer); prefixTimer = setTimeout(() => { prefix = ''; }, 1500); return true;
    case '?': return show('keys-help');
    case '/': return focus('.lbar input[type=search]') || focus('[data-search]') || focus('[data-filter]');
    case 'n': return !one('[data-log]') && click('[data-open=newbuild]');
    case 'j': case 'k': return step(e.key === 'j' ? 1 : -1);
    case 'r': case 'x': case '1': case '2': case '3': return click(`[data-key="${e.key}"]`);
    case 'ArrowLeft': case 'ArrowRight': case 'ArrowUp': case 'ArrowDown': return walk(e.key.slice(5));
    case 'c': return copy(one('[data-commit]')?.dataset.commit, 'Commit id copied');
    case 'y': return copy(location.href, 'Link copied');
    case 'Escape': return leave();
  }
  return false;
}

// In a graph, left and right follow what waits for what, through waits; up and down stay in the column.
function walk(to) {
  const at = document.activeElement?.closest('a.nd');
  if (!at) return false;
  const column = all(`a.nd[data-c="${at.dataset.c}"]`);
  let next = column[column.indexOf(at) + (to === 'Up' ? -1 : 1)];
  if (to === 'Left' || to === 'Right') {
    const by = to === 'Left' ? 'prev' : 'next';
    next = at;
    do next = one(`.nd[data-n="${next.dataset[by].split(' ')[0]}"]`); while (next && next.localName !== 'a');
  }
  next?.focus();
  return !!next;
}

function show(id) {
  const d = document.getElementById(id);
  d?.showModal();
  return !!d;
}

function focus(sel) {
  const el = one(sel);
  if (!el || !el.getClientRects().length) return false;
  el.focus();
  el.select?.();
  return true;
}

function click(sel) {
  const el = one(sel);
  if (!el || el.disabled) return false;
  el.click();
  return true;
}

// step moves the focus along the step list or the rows of a table.
function step(by) {
  const list = all('.steps .sp:not([hidden]), [data-row], .pl:not(.head):not([hidden])').filter((el) => el.getClientRects().length);
  if (!list.length) return false;
  const at = document.activeElement;
  let k = list.findIndex((el) => el === at || el.contains(at));
  if (k < 0) k = list.findIndex((el) => el.hasAttribute('aria-current'));
  const next = list[Math.max(0, Math.min(list.length - 1, k < 0 ? 0 : k + by))];
  (next.matches('a, summary') ? next : one('a', next))?.focus();
  return true;
}

function copy(text, said) {
  if (!text || !navigator.clipboard) return false;
  navigator.clipboard.writeText(text).then(() => toast(said), () => toast('The browser does not allow copying here.'));
  return true;
}

function leave() {
  if (!document.activeElement?.closest('.log')) return false;
  one('.sp[aria-current]')?.focus();
  return true;
}
