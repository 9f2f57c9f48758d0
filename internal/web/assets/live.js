// The stream: fragments of the page in place of older ones. The page is whole
// without it; this module only keeps it true while somebody looks.
import { all, ago, duration, localise, one, parse } from './dom.js';

const WAITS = [1, 2, 4, 8, 15, 30]; // seconds between attempts
const HOLD = 2000;                  // how long a fragment waits for the pointer to leave
const HIDE = 15000;                 // a hidden tab gives its connection back after this

let source, tries = 0, lostAt = 0, retryAt = 0, retryTimer, barTimer, hideTimer;
const pending = new Map(); // id → {v, html, since}
let frame = 0;

const address = () => {
  const url = document.body.dataset.live;
  return url;
};

function connect() {
  clearTimeout(retryTimer);
  if (source || !address() || document.hidden) return;
  source = new EventSource(address());
  source.onopen = () => { tries = 0; found(); };
  source.onerror = () => { drop(); lost(); };
  on('swap', (d) => queue(d.to, d.v, d.html));
  on('log', (d) => dispatchEvent(new CustomEvent('slipway:log', { detail: d })));
  on('new', (d) => newer(d.count));
  on('turn', turn);
  on('resync', resync);
  on('bye', () => { drop(); retryTimer = setTimeout(connect, 1000); });
}

function on(name, take) {
  source.addEventListener(name, (e) => {
    take(e.data ? JSON.parse(e.data) : {});
  });
}

function drop() { source?.close(); source = null; }

function lost() {
  lostAt ||= Date.now();
  const wait = WAITS[Math.min(tries++, WAITS.length - 1)] * 1000 * (0.8 + 0.4 * Math.random());
  retryAt = Date.now() + wait;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(connect, wait);
  barTimer ||= setInterval(bar, 500);
}

function found() {
  lostAt = 0;
  clearInterval(barTimer);
  barTimer = 0;
  document.body.classList.remove('stale');
  const el = one('#dropbar');
  if (el) el.hidden = true;
}

function bar() {
  const el = one('#dropbar'), age = Date.now() - lostAt;
  if (!el || !lostAt || age < 3000) return;
  document.body.classList.add('stale');
  const at = new Date(lostAt).toLocaleTimeString('en-GB');
  const left = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
  el.textContent = `Live updates stopped at ${at}. Trying again in ${left} s. What you see is ${ago(age)} old.`;
  el.hidden = false;
}

// queue keeps the newest version of each fragment until the next frame.
function queue(id, v, html) {
  const el = document.getElementById(id);
  if (!el || Number(el.dataset.v ?? 0) >= Number(v)) return;
  const had = pending.get(id);
  if (had && Number(had.v) >= Number(v)) return;
  pending.set(id, { v, html, since: had?.since ?? Date.now() });
  frame ||= requestAnimationFrame(flush);
}

function flush() {
  frame = 0;
  for (const [id, p] of pending) {
    const el = document.getElementById(id);
    if (!el) { pending.delete(id); continue; }
    if (busy(el) && Date.now() - p.since < HOLD) continue;
    pending.delete(id);
    swap(el, p);
  }
  if (pending.size) setTimeout(() => { frame ||= requestAnimationFrame(flush); }, 200);
}

const busy = (el) => el.contains(document.activeElement) && document.activeElement !== document.body
  || (el.matches(':hover') && !!el.querySelector('a, button, summary'));

// swap replaces el and carries over what belongs to the reader: the current
// row, open details, focus, typed text.
function swap(el, { v, html }) {
  const next = parse(html).firstElementChild;
  if (!next) return;
  next.dataset.v = v;
  if (el.hasAttribute('aria-current')) next.setAttribute('aria-current', el.getAttribute('aria-current'));
  if (el.hidden) next.hidden = true;
  const open = new Set(all('details[open][id]', el).map((d) => d.id));
  for (const d of all('details[id]', next)) if (open.has(d.id)) d.open = true;
  for (const input of all('input[name], textarea[name]', el)) {
    const twin = one(`[name="${CSS.escape(input.name)}"]`, next);
    if (twin && input.value !== input.defaultValue) twin.value = input.value;
  }
  const path = focusPath(el);
  el.replaceWith(next);
  localise(next);
  tick();
  if (path) (one(path, next) ?? next).focus?.({ preventScroll: true });
}

function focusPath(el) {
  const at = document.activeElement;
  if (!el.contains(at) || at === document.body) return '';
  if (at === el) return ':scope';
  if (at.id) return `#${CSS.escape(at.id)}`;
  const href = at.getAttribute('href');
  return href ? `[href="${CSS.escape(href)}"]` : at.tagName.toLowerCase();
}

function newer(count) {
  const b = one('#newer');
  if (!b) return;
  b.textContent = count === 1 ? '1 new build' : `${count} new builds`;
  b.hidden = false;
}

// turn loads the page anew when the job in view became something else, but
// not from under somebody's hands.
function turn() {
  const at = document.activeElement;
  if (document.querySelector('dialog[open]') || at?.matches('input, textarea, select')) setTimeout(turn, 1000);
  else location.reload();
}

// resync fetches the page anew when the server cannot replay what was missed.
async function resync() {
  const res = await fetch(location.href, { headers: { Accept: 'text/vnd.slipway.fragment, text/html' } });
  if (!res.ok) return;
  const doc = parse(await res.text());
  const body = Number(doc.querySelector('[data-v]')?.dataset.v ?? 0);
  for (const el of all('[id][data-v]', doc)) queue(el.id, el.dataset.v || body, el.outerHTML);
}

function tick() {
  if (document.hidden || document.body.classList.contains('stale')) return;
  const now = Date.now();
  for (const t of all('time[data-since]')) {
    const text = duration(now - Number(t.dataset.since));
    if (t.textContent !== text) t.textContent = text;
  }
  for (const t of all('[data-last]')) t.textContent = `last output ${ago(now - Number(t.dataset.last))} ago`;
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(hideTimer);
  if (document.hidden) hideTimer = setTimeout(drop, HIDE);
  else { tries = 0; connect(); tick(); }
});
addEventListener('online', () => { tries = 0; connect(); });
addEventListener('focus', () => { if (lostAt) { tries = 0; connect(); } });
addEventListener('pagehide', drop);
one('#newer')?.addEventListener('click', () => location.reload());
setInterval(tick, 1000);
localise();
connect();
