// The log viewer: any number of lines, a few dozen rows in the document.
//
// Rows have one height and group heads another, so the place of line n follows
// from how many lines are hidden and how many heads stand before it: nothing
// is measured. Engines cap an element's height, so the spacer stops at CAP and
// the view keeps its own position, `top`, in full-length pixels: a small scroll
// moves it by the same pixels, a jump maps proportionally, and the scrollbar is
// put right after a pause.
import { all, clockMs, one, parse, thousands, toast, typing } from './dom.js';

const HEAD = 28, CAP = 8_000_000, CHUNK = 2000, KEEP = 48, MOST = 20_000;

class LogView {
  // Browsers keep ranges for good. Their group heads refer to the icons, so an
  // edition of the icons is part of a range's address.
  constructor(wrap) {
    const d = wrap.dataset;
    Object.assign(this, {
      wrap, el: one('.log', wrap), base: d.log, edition: d.assets.replace(/\D+/g, ''), total: Number(d.total), live: 'liveLog' in d,
      row: parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--log-line')) || 20,
      groups: outline(d.groups), chunks: new Map(), nodes: new Map(), top: 0, last: 0, cols: 0,
      follow: false, unseen: 0, from: 0, to: 0, hits: d.hits ? d.hits.split(' ').map(Number) : [], hit: -1, stats: [],
    });
    this.query = one('.lbar input[name=q]')?.value ?? '';
    this.index();
  }

  // start takes the rendered lines away only when the ones in view are here.
  async start() {
    const line = this.wanted();
    this.follow = this.live && !location.hash && !new URLSearchParams(location.search).has('from');
    const first = this.follow ? Math.max(1, this.total - 50) : Math.max(1, line - 30);
    await Promise.all([...new Set([this.chunkOf(first), this.chunkOf(Math.min(this.total, first + 100))])].map((c) => this.fetch(c)));
    const keep = this.el.scrollTop;
    this.el.replaceChildren();
    this.spacer = this.el.appendChild(document.createElement('div'));
    this.box = this.spacer.appendChild(document.createElement('div'));
    this.spacer.className = 'vspace';
    this.box.className = 'vbox';
    this.ruler();
    this.el.addEventListener('scroll', () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.resize()).observe(this.el);
    this.resize();
    if (this.follow) this.end(); else this.goto(line, keep === 0);
    if (location.hash) this.address();
  }

  wanted() {
    const m = location.hash.match(/^#L(\d+)/);
    if (m) return Number(m[1]);
    const from = Number(new URLSearchParams(location.search).get('from'));
    return from || Number(one('[data-jump]')?.dataset.jump) || Number(this.wrap.dataset.first) || 1;
  }

  // ---- where lines are ------------------------------------------------------

  // index sums, for each group, the lines hidden and the heads before it.
  index() {
    let hidden = 0;
    this.groups.forEach((g, k) => {
      g.hidden = hidden;
      g.y = (g.start - 1 - hidden) * this.row + k * (HEAD - this.row);
      if (!g.open) hidden += g.end - g.start;
    });
    this.hiddenAll = hidden;
  }

  // at is the index of the last group that starts at or before line n, or -1.
  at(n) {
    let lo = 0, hi = this.groups.length;
    while (lo < hi) { const m = (lo + hi) >> 1; if (this.groups[m].start <= n) lo = m + 1; else hi = m; }
    return lo - 1;
  }

  y(n) {
    const k = this.at(n), g = this.groups[k];
    if (!g) return (n - 1) * this.row;
    if (n === g.start) return g.y;
    const shut = g.open ? 0 : Math.min(n, g.end + 1) - g.start - 1;
    return g.y + HEAD + (n - g.start - 1 - shut) * this.row;
  }

  // line is the number of the line at height y.
  line(y) {
    let lo = 0, hi = this.groups.length;
    while (lo < hi) { const m = (lo + hi) >> 1; if (this.groups[m].y <= y) lo = m + 1; else hi = m; }
    const g = this.groups[lo - 1];
    if (!g) return 1 + Math.floor(Math.max(0, y) / this.row);
    if (y < g.y + HEAD) return g.start;
    const n = Math.floor((y - g.y - HEAD) / this.row);
    return g.open ? g.start + 1 + n : g.end + 1 + n;
  }

  next(n) {
    const g = this.groups[this.at(n)];
    return g && g.start === n && !g.open ? g.end + 1 : n + 1;
  }

  get full() { return Math.max(this.y(this.total + 1), this.vh); }

  // ---- scrolling ------------------------------------------------------------

  resize() {
    this.vh = this.el.clientHeight;
    if (!this.vh) return;
    this.measure();
    this.drawRuler();
    if (this.follow) this.top = this.full - this.vh;
    this.settle();
    this.paint();
  }

  measure() {
    this.real = Math.min(this.full, CAP);
    this.k = (this.full - this.vh) / Math.max(1, this.real - this.vh);
    this.spacer.style.height = `${this.real}px`;
    this.box.style.height = `${this.vh}px`;
  }

  scrolled() {
    const now = this.el.scrollTop, d = now - this.last;
    this.last = now;
    if (!d) { this.ask(); return; }
    const edge = now < 1 || now > this.real - this.vh - 1;
    this.top = this.k === 1 || Math.abs(d) > 4 * this.vh ? now * this.k : this.top + d;
    const end = this.full - this.vh;
    this.top = Math.max(0, Math.min(end, this.top));
    if (edge && this.top < this.row) this.top = 0;
    else if (edge && this.top > end - this.row) this.top = end;
    else if (edge) this.settle();
    if (d < 0 && this.follow && this.top < end - 2) this.setFollow(false);
    else if (this.live && !this.follow && this.top >= end - 1) this.setFollow(true);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), 150);
    this.ask();
  }

  settle() {
    const want = this.top / (this.k || 1);
    if (Math.abs(want - this.el.scrollTop) > 1) this.el.scrollTop = want;
    this.last = this.el.scrollTop;
  }

  to_(px) {
    this.top = Math.max(0, Math.min(this.full - this.vh, px));
    this.settle();
    this.ask();
  }

  goto(n, middle = true) {
    n = Math.max(1, Math.min(this.total, n));
    this.openAt(n);
    this.to_(this.y(n) - (middle ? this.vh / 3 : HEAD));
  }

  end() { this.setFollow(this.live); this.to_(this.full); }

  openAt(n) {
    const g = this.groups[this.at(n)];
    if (g && !g.open && n > g.start && n <= g.end) { g.open = g.touched = true; this.relayout(); }
  }

  relayout() { this.index(); this.measure(); this.drawRuler(); this.ask(); }

  toggle(g) {
    g.open = !g.open;
    g.touched = true;
    const anchor = this.y(g.start);
    this.relayout();
    if (!g.open && anchor < this.top) this.to_(anchor);
    else this.settle();
    for (const [n, node] of this.nodes) if (n === g.start) node.setAttribute('aria-expanded', g.open);
  }

  // ---- painting -------------------------------------------------------------

  ask() { this.raf ||= requestAnimationFrame(() => { this.raf = 0; this.paint(); }); }

  paint() {
    if (!this.vh) return;
    const t0 = performance.now(), want = new Set();
    let n = this.line(this.top);
    this.from = n;
    for (; n <= this.total; n = this.next(n)) {
      const y = this.y(n) - this.top;
      if (y > this.vh) break;
      want.add(n);
      this.to = n;
      const node = this.node(n);
      node.style.transform = `translateY(${y}px)`;
    }
    for (const [k, node] of this.nodes) if (!want.has(k)) { node.remove(); this.nodes.delete(k); }
    this.pin();
    this.view();
    this.stats.push(performance.now() - t0);
    if (this.stats.length > 2000) this.stats.splice(0, 1000);
  }

  node(n) {
    const had = this.nodes.get(n);
    if (had && !had.waits) return had;
    const html = this.text(n);
    if (had && html === undefined) return had;
    const node = html === undefined ? this.blank(n) : parse(html).firstElementChild ?? this.blank(n);
    node.waits = html === undefined;
    if (html !== undefined) this.dress(node, n);
    had ? had.replaceWith(node) : this.box.append(node);
    this.nodes.set(n, node);
    return node;
  }

  blank(n) {
    const d = document.createElement('div'), a = document.createElement('a'), s = document.createElement('span');
    d.className = 'ln wait';
    a.textContent = n;
    a.href = `#L${n}`;
    d.append(a, document.createElement('time'), s);
    return d;
  }

  // dress adds what depends on the reader: the group's state, the chosen
  // lines, the search, the zone.
  dress(node, n) {
    if (node.matches('.lg')) node.setAttribute('aria-expanded', !!this.groups[this.at(n)]?.open);
    const t = one('time[data-ms]', node);
    if (t && Number(t.dataset.ms) > 0) t.textContent = clockMs(new Date(Number(t.dataset.ms)));
    if (this.pick && n >= this.pick[0] && n <= this.pick[1]) node.classList.add('on');
    if (this.query && isPattern(this.query)) {
      // Only the server knows patterns: a line of them is marked as a whole.
      node.classList.toggle('hit', this.hitAt(n));
      node.classList.toggle('now', n === this.hits[this.hit]);
    } else if (this.query) highlight(one('span', node), this.query, n === this.hits[this.hit]);
    const cols = node.textContent.length;
    if (cols > this.cols) {
      this.cols = cols;
      this.spacer.style.minWidth = `calc(${cols}ch + 160px)`;
    }
  }

  hitAt(n) {
    let lo = 0, hi = this.hits.length;
    while (lo < hi) { const m = (lo + hi) >> 1; if (this.hits[m] < n) lo = m + 1; else hi = m; }
    return this.hits[lo] === n;
  }

  redress() { for (const node of this.nodes.values()) node.remove(); this.nodes.clear(); this.ask(); }

  // pin keeps the head of the group in view at the top.
  pin() {
    const k = this.at(this.from), g = this.groups[k];
    const on = g && g.open && g.y < this.top && this.from <= g.end;
    if (!on) { this.pinned?.remove(); this.pinned = null; return; }
    if (this.pinned?.group !== g) {
      const html = this.text(g.start);
      if (!html) return;
      this.pinned?.remove();
      this.pinned = parse(html).firstElementChild;
      this.pinned.removeAttribute('id');
      this.pinned.classList.add('pin');
      this.pinned.setAttribute('aria-expanded', 'true');
      this.pinned.group = g;
      this.box.append(this.pinned);
    }
    const next = this.groups[k + 1];
    const push = next ? Math.min(0, next.y - this.top - HEAD) : 0;
    this.pinned.style.transform = `translateY(${push}px)`;
  }

  // ---- lines ----------------------------------------------------------------

  chunkOf(n) { return Math.floor((n - 1) / CHUNK); }

  text(n) {
    const c = this.chunkOf(n), have = this.chunks.get(c);
    if (have?.lines) {
      this.chunks.delete(c);
      this.chunks.set(c, have);
      const html = have.lines[(n - 1) % CHUNK];
      if (html === undefined && n <= this.total) this.fetch(c, true);
      return html;
    }
    this.fetch(c);
    return undefined;
  }

  fetch(c, again = false) {
    const have = this.chunks.get(c);
    if (have && (have.busy || !again)) return have.busy ?? Promise.resolve();
    const entry = have ?? { lines: null };
    entry.busy = fetch(`${this.base}/lines?from=${c * CHUNK + 1}&count=${CHUNK}&v=${this.edition}`)
      .then((r) => (r.ok ? r.text() : Promise.reject(new Error(r.status))))
      .then((text) => { entry.lines = split(text); })
      .catch(() => { if (!entry.lines) this.chunks.delete(c); })
      .finally(() => { entry.busy = null; this.trim(); if (this.box) this.ask(); });
    this.chunks.set(c, entry);
    return entry.busy;
  }

  trim() { for (const [k, v] of this.chunks) { if (this.chunks.size <= KEEP) break; if (v.lines) this.chunks.delete(k); } }

  // append takes new lines from the stream.
  append(d) {
    if (d.groups) this.regroup(d.groups);
    if (d.html) split(d.html).forEach((html, i) => this.put(d.from + i, html));
    const grew = Math.max(0, d.total - this.total);
    if (d.html && this.total >= d.from) for (let n = d.from; n <= this.total; n++) { this.nodes.get(n)?.remove(); this.nodes.delete(n); }
    this.total = d.total; // may shrink: half of a mark that is no line looked like one
    if (!this.box) return;
    const g = this.groups.at(-1);
    if (g && g.end >= d.from - 1) g.end = Math.max(g.end, this.total);
    this.relayout();
    if (this.follow) { this.top = this.full - this.vh; this.settle(); }
    else if (grew && this.live) { this.unseen += grew; this.label(); }
    const s = one('[data-status]'), last = one('[data-last]');
    if (s && d.status) s.textContent = d.status;
    if (last) last.dataset.last = Date.now();
    if (d.ended) { this.live = false; this.setFollow(false); }
  }

  put(n, html) {
    const c = this.chunkOf(n), e = this.chunks.get(c);
    if (e?.lines) e.lines[(n - 1) % CHUNK] = html;
    else if ((n - 1) % CHUNK === 0) this.chunks.set(c, { lines: [html] });
  }

  regroup(text) {
    for (const g of outline(text)) {
      const had = this.groups.find((x) => x.start === g.start);
      if (!had) this.groups.push(g);
      else Object.assign(had, { end: g.end, errors: g.errors, open: had.touched || (!this.follow && had.open) ? had.open : g.open });
    }
    this.groups.sort((a, b) => a.start - b.start);
  }

  // ---- follow ---------------------------------------------------------------

  setFollow(on) {
    this.follow = on && this.live;
    if (this.follow) this.unseen = 0;
    this.label();
  }

  label() {
    const b = one('[data-toggle=follow]');
    if (!b) return;
    b.hidden = !this.live;
    b.setAttribute('aria-pressed', this.follow);
    one('span', b).textContent = this.follow ? 'Following' : this.unseen ? `Paused, ${thousands(this.unseen)} new` : 'Follow';
  }

  // ---- addressed lines, errors, search ----------------------------------------

  address() {
    const m = location.hash.match(/^#L(\d+)(?:-L?(\d+))?$/);
    if (!m) return;
    const a = Number(m[1]), b = Number(m[2] ?? m[1]);
    this.pick = [Math.min(a, b), Math.max(a, b)];
    this.setFollow(false);
    this.goto(this.pick[0]);
    this.redress();
  }

  choose(n, range) {
    this.pick = range && this.pick ? [Math.min(this.pick[0], n), Math.max(this.pick[0], n)] : [n, n];
    const [a, b] = this.pick;
    history.replaceState(null, '', a === b ? `#L${a}` : `#L${a}-L${b}`);
    this.redress();
  }

  // error moves to the next marked line among those that are here, starting
  // with the first error of the log.
  error(by) {
    const first = Number(one('[data-jump]')?.dataset.jump);
    const from = this.err ?? (by > 0 ? 0 : this.total + 1);
    let found = 0;
    for (const [c, e] of [...this.chunks].sort((a, b) => (a[0] - b[0]) * by)) {
      const list = e.lines ?? [];
      for (let i = by > 0 ? 0 : list.length - 1; i >= 0 && i < list.length && !found; i += by) {
        const n = c * CHUNK + i + 1;
        if ((n - from) * by > 0 && list[i]?.startsWith('<div class="ln er"')) found = n;
      }
    }
    this.err = found || first || undefined;
    if (this.err) { this.setFollow(false); this.goto(this.err); this.focusLine(this.err); }
    return !!this.err;
  }

  focusLine(n) { requestAnimationFrame(() => requestAnimationFrame(() => one('a', this.nodes.get(n) ?? document.createElement('i'))?.focus({ preventScroll: true }))); }

  async search(q) {
    this.query = q;
    this.hits = [];
    this.hit = -1;
    this.asking?.abort();
    const asking = this.asking = new AbortController();
    let problem = '';
    // The server searches for a second at a time: hits show while it goes on.
    for (let from = 1; q && from && !problem && this.hits.length < MOST;) {
      let d = { problem: 'search failed' };
      try {
        const res = await fetch(`${this.base}/search?q=${encodeURIComponent(q)}&from=${from}`, { signal: asking.signal });
        if (res.ok) d = await res.json();
      } catch { /* aborted, or the server is away */ }
      if (asking.signal.aborted) return;
      const first = !this.hits.length;
      this.hits.push(...(d.hits ?? []));
      problem = d.problem;
      from = d.next ?? 0;
      this.more = from > 0;
      this.drawRuler();
      this.redress();
      if (first && this.hits.length) this.walk(1); else this.tally(from);
    }
    this.drawRuler();
    this.redress();
    this.tally(0, problem || (q && !this.hits.length ? 'no match' : ''));
  }

  // tally says how far the search has come: the hit in view among those found.
  tally(from, text = '') {
    const s = document.createElement('span');
    if (text) s.textContent = text;
    else if (this.hits.length) s.textContent = `${thousands(this.hit + 1)} of ${thousands(this.hits.length)}${this.more ? '+' : ''}`;
    else if (from) s.textContent = `${Math.floor((100 * from) / Math.max(1, this.total))} %`;
    s.title = text;
    one('#hits')?.replaceChildren(s);
  }

  walk(by) {
    if (!this.hits.length) return false;
    if (this.hit < 0) this.hit = Math.max(0, this.hits.findIndex((n) => n >= this.from)) - (by > 0 ? 1 : 0);
    this.hit = (this.hit + by + this.hits.length) % this.hits.length;
    this.tally(0);
    this.setFollow(false);
    this.goto(this.hits[this.hit]);
    this.redress();
    return true;
  }

  // ---- ruler ------------------------------------------------------------------

  ruler() {
    const ns = 'http://www.w3.org/2000/svg';
    this.bar = document.createElementNS(ns, 'svg');
    this.bar.setAttribute('class', 'ruler');
    this.bar.setAttribute('width', '12');
    this.bar.setAttribute('height', '100%');
    this.bar.setAttribute('aria-hidden', 'true');
    this.vp = this.bar.appendChild(document.createElementNS(ns, 'rect'));
    this.vp.setAttribute('class', 'vp');
    this.vp.setAttribute('width', '11');
    this.bar.addEventListener('click', (e) => { this.setFollow(false); this.to_((e.offsetY / this.bar.clientHeight) * this.full - this.vh / 2); });
    this.wrap.append(this.bar);
  }

  drawRuler() {
    if (!this.bar || !this.vh) return;
    for (const r of all('.er, .hi', this.bar)) r.remove();
    const mark = (n, cls) => {
      const r = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
      r.setAttribute('class', cls);
      r.setAttribute('x', '2');
      r.setAttribute('width', '7');
      r.setAttribute('height', '2');
      r.setAttribute('y', `${(this.y(n) / this.full) * 100}%`);
      this.bar.append(r);
    };
    const step = Math.max(1, Math.ceil(this.hits.length / 400));
    for (let i = 0; i < this.hits.length; i += step) mark(this.hits[i], 'hi');
    for (const g of this.groups) if (g.errors) mark(g.start, 'er');
    const first = Number(one('[data-jump]')?.dataset.jump);
    if (first) mark(first, 'er');
  }

  view() {
    this.vp.setAttribute('y', `${(this.top / this.full) * 100}%`);
    this.vp.setAttribute('height', `${Math.max(1, (this.vh / this.full) * 100)}%`);
    this.vp.setAttribute('visibility', this.full > this.vh ? 'visible' : 'hidden');
  }
}

// outline reads "start-end", "o" for open, "m" for muted, ":n" for errors.
function outline(text) {
  return (text ?? '').split(' ').filter(Boolean).map((s) => {
    const m = s.match(/^(\d+)-(\d+)(o?)(m?)(?::(\d+))?$/);
    return m && { start: Number(m[1]), end: Number(m[2]), open: !!m[3], muted: !!m[4], errors: Number(m[5] ?? 0) };
  }).filter(Boolean);
}

// split takes a rendered range apart: one element a line.
const split = (text) => text.replace(/\n$/, '').split('\n');

const isPattern = (query) => /^\/.+\/$/.test(query);

function highlight(el, query, now) {
  if (!el) return;
  const fold = query === query.toLowerCase();
  const walker = document.createTreeWalker(el, NodeFilter.SHOW_TEXT), found = [];
  for (let t; (t = walker.nextNode());) {
    const text = fold ? t.data.toLowerCase() : t.data;
    for (let i = text.indexOf(query); i >= 0; i = text.indexOf(query, i + query.length)) found.push([t, i]);
  }
  for (const [t, i] of found.reverse()) {
    const r = document.createRange(), m = document.createElement('mark');
    r.setStart(t, i);
    r.setEnd(t, i + query.length);
    if (now) m.className = 'now';
    r.surroundContents(m);
  }
}

function wire(view) {
  view.el.addEventListener('click', (e) => {
    const head = e.target.closest('.lg'), number = e.target.closest('.ln > a');
    if (head) {
      const n = Number(head.dataset.n), g = view.groups.find((x) => x.start === n);
      if (g) { e.preventDefault(); view.toggle(g); }
    } else if (number) { e.preventDefault(); view.choose(Number(number.textContent), e.shiftKey); }
  });
  document.addEventListener('click', (e) => {
    const b = e.target.closest('[data-toggle], [data-jump], [data-groups], [data-goto]');
    if (!b) return;
    if ('goto' in b.dataset) goLine(view);
    if (b.dataset.toggle === 'ts') { e.preventDefault(); b.setAttribute('aria-pressed', view.wrap.classList.toggle('ts')); }
    else if (b.dataset.toggle === 'follow') view.follow ? view.setFollow(false) : view.end();
    else if (b.dataset.jump) { e.preventDefault(); view.setFollow(false); view.goto(Number(b.dataset.jump)); view.focusLine(Number(b.dataset.jump)); }
    else if ('groups' in b.dataset) groups(view);
  });
  const zone = one('[data-zone]');
  if (zone) zone.textContent = `times in ${zoneName()}`;
  const form = one('.lbar form');
  form?.addEventListener('submit', (e) => {
    e.preventDefault();
    const q = form.q.value;
    if (q === view.query && view.hits.length) view.walk(1); else view.search(q);
  });
  form?.q.addEventListener('keydown', (e) => {
    if (e.key === 'Enter' && e.shiftKey) { e.preventDefault(); view.walk(-1); }
    if (e.key === 'Escape') { form.q.value = ''; view.search(''); }
  });
  document.addEventListener('keydown', (e) => { if (key(view, e)) e.preventDefault(); });
  addEventListener('slipway:log', (e) => { if (view.base.endsWith(`/${e.detail.job}`)) view.append(e.detail); });
  addEventListener('hashchange', () => view.address());
}

const zoneName = () => new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(new Date()).find((p) => p.type === 'timeZoneName')?.value ?? 'your zone';

function groups(view) {
  const open = view.groups.some((g) => !g.open);
  for (const g of view.groups) { g.open = open; g.touched = true; }
  const n = view.from;
  view.relayout();
  view.to_(view.y(n));
  view.redress();
}

function key(view, e) {
  if (e.defaultPrevented || e.metaKey || e.ctrlKey || e.altKey || typing(e.target) || one('dialog[open]')) return false;
  switch (e.key) {
    case 'e': return view.error(1);
    case 'E': return view.error(-1);
    case 'n': return view.walk(1);
    case 'N': return view.walk(-1);
    case 'f': one('[data-toggle=follow]')?.click(); return true;
    case 't': one('[data-toggle=ts]')?.click(); return true;
    case 'w': one('[data-toggle=wrap]')?.click(); return true;
    case 'O': groups(view); return true;
    case 'o': { const g = view.groups[view.at(view.from)]; if (g) view.toggle(g); return !!g; }
    case ':': return goLine(view);
  }
  if (!view.el.contains(document.activeElement) && document.activeElement !== document.body) return false;
  switch (e.key) {
    case 'Home': view.setFollow(false); view.to_(0); return true;
    case 'End': view.end(); return true;
    case 'PageUp': view.setFollow(false); view.to_(view.top - view.vh + view.row); return true;
    case 'PageDown': view.to_(view.top + view.vh - view.row); return true;
  }
  return false;
}

function goLine(view) {
  const d = one('#goto');
  if (!d) return false;
  d.showModal();
  one('form', d).onsubmit = (e) => {
    e.preventDefault();
    d.close();
    const text = e.target.line.value.trim();
    (text.includes(':') ? lineAt(view, text) : Promise.resolve(Number(text))).then((n) => {
      if (n >= 1 && n <= view.total) { view.setFollow(false); view.choose(n, false); view.goto(n); } else toast(`This log has ${thousands(view.total)} lines.`);
    });
  };
  return true;
}

// lineAt asks for the first line at a time of day in the reader's zone, after the log's start.
async function lineAt(view, text) {
  const [h, m, s = 0] = text.split(':').map(Number), start = new Date(Number(view.wrap.dataset.started)), at = new Date(start);
  at.setHours(h, m, 0, Math.round(s * 1000));
  if (at < start - 60_000) at.setDate(at.getDate() + 1);
  const res = await fetch(`${view.base}/at?ms=${at.getTime()}`);
  return res.ok ? (await res.json()).line : 0;
}

// A wrapped log has rows of every height; it stays as the server rendered it.
const box = one('[data-log]');
if (box && !box.classList.contains('wrap')) {
  const view = new LogView(box);
  window.slipwayLog = view; // for scripted measurement in tests
  if (view.total > 0) view.start().then(() => wire(view));
  else addEventListener('slipway:log', () => location.reload(), { once: true });
}
if (box && matchMedia('(max-width: 760px)').matches && location.pathname.includes('/jobs/') && !location.hash) one('.jh')?.scrollIntoView();
