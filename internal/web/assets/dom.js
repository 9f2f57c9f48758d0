// What several modules need from the document. parse is the single place that
// turns text into elements, and it is only given what this server rendered.
export const one = (sel, root = document) => root.querySelector(sel);
export const all = (sel, root = document) => [...root.querySelectorAll(sel)];

export function parse(html) {
  const t = document.createElement('template');
  t.innerHTML = html;
  return t.content;
}

export const typing = (el) => !!el?.closest?.('input, textarea, select, [contenteditable]');

// duration and ago write time as the server does, so that a counting figure
// never changes its form.
const two = (n) => String(n).padStart(2, '0');

export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86400)} d`;
}

export function ago(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

export const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ',');

// toast says one thing for eight seconds, longer while the pointer or the
// focus is on it.
export function toast(text) {
  const box = one('#toasts');
  if (!box) return;
  const el = document.createElement('div');
  el.className = 'toast';
  const span = el.appendChild(document.createElement('span'));
  span.className = 'grow';
  span.textContent = text;
  box.replaceChildren(el);
  const go = () => (el.matches(':hover, :focus-within') ? setTimeout(go, 1000) : el.remove());
  setTimeout(go, 8000);
}

// localise writes the times below root in the reader's own zone.
export function localise(root = document) {
  const now = new Date();
  for (const t of all('time[data-at]', root)) {
    const d = new Date(t.dateTime);
    if (Number.isNaN(d.getTime())) continue;
    t.textContent = d.toDateString() === now.toDateString() ? clock(d)
      : `${d.getDate()} ${d.toLocaleString('en', { month: 'short' })}${d.getFullYear() === now.getFullYear() ? '' : ' ' + d.getFullYear()}`;
    t.title = d.toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'long' });
  }
}

export const clock = (d) => `${two(d.getHours())}:${two(d.getMinutes())}`;
export const clockMs = (d) => `${clock(d)}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
