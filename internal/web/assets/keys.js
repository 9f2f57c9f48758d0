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
    case 'r': case 'x': return click(`[data-key=${e.key}]`);
    case 'c': return copy(one('[data-commit]')?.dataset.commit, 'Commit id copied');
    case 'y': return copy(location.href, 'Link copied');
    case 'Escape': return leave();
  }
  return false;
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
