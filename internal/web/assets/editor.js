// The steps editor checks while you type: the form is sent as its Check button
// would send it, and the report of the answer takes the place of the one here.
import { one, parse } from './dom.js';

const PAUSE = 600; // milliseconds without a key before a check

const form = one('#editor');
let timer, asked = 0;

form?.addEventListener('input', () => {
  clearTimeout(timer);
  timer = setTimeout(check, PAUSE);
});

async function check() {
  const n = ++asked;
  const body = new URLSearchParams(new FormData(form));
  body.set('do', 'check');
  let text = '';
  try {
    const answer = await fetch(form.action, { method: 'POST', body });
    if (!answer.ok) return;
    text = await answer.text();
  } catch {
    return; // the buttons still work
  }
  if (n !== asked) return;
  const fresh = parse(text).querySelector('#report');
  if (fresh) one('#report').replaceWith(fresh);
}

// Tab indents in the editor; Escape first gives it its usual meaning back.
let leaving = false;
one('#yaml')?.addEventListener('keydown', (e) => {
  if (e.key === 'Escape') { leaving = true; return; }
  if (e.key === 'Tab' && !e.shiftKey && !leaving && !e.ctrlKey && !e.altKey) {
    e.preventDefault();
    e.target.setRangeText('  ', e.target.selectionStart, e.target.selectionEnd, 'end');
    form.dispatchEvent(new Event('input'));
  }
  leaving = false;
});
