package web

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of guessing at the door. What was used up comes back with time, so
// that nobody is shut out for good by others' guesses; a sign-in link needs no
// password.
const (
	accountTries = 10 // wrong passwords for one account, before each costs tryEvery
	addressTries = 30 // wrong passwords and links from one network
	tryEvery     = 30 * time.Second
	maxGuessers  = 20_000 // accounts and networks remembered
)

// brake counts wrong guesses by key: the time at which all of them are
// forgotten lies tryEvery further off for each.
type brake struct {
	mu    sync.Mutex
	clear map[string]time.Time
}

// guess is one attempt against one key, of which there may be some at once.
type guess struct {
	key  string
	free int
}

// take counts an attempt as wrong until it is given back. wait is how long the
// caller must hold on if there were too many; then nothing is counted.
func (b *brake) take(now time.Time, guesses ...guess) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range guesses {
		wait = max(wait, later(b.clear[g.key], now).Sub(now)-time.Duration(g.free-1)*tryEvery)
	}
	if wait > 0 {
		return wait
	}
	for _, g := range guesses {
		b.put(g.key, later(b.clear[g.key], now).Add(tryEvery), now)
	}
	return 0
}

// giveBack takes attempts that were right out of the count.
func (b *brake) giveBack(guesses ...guess) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range guesses {
		if t, ok := b.clear[g.key]; ok {
			b.clear[g.key] = t.Add(-tryEvery)
		}
	}
}

// put remembers a key. Where there are too many, those that are forgotten
// anyway go, or else any one.
func (b *brake) put(key string, until, now time.Time) {
	if b.clear == nil {
		b.clear = map[string]time.Time{}
	}
	if _, ok := b.clear[key]; !ok && len(b.clear) >= maxGuessers {
		b.sweep(now)
	}
	b.clear[key] = until
}

func (b *brake) sweep(now time.Time) {
	for k, t := range b.clear {
		if !t.After(now) {
			delete(b.clear, k)
		}
	}
	for k := range b.clear {
		if len(b.clear) < maxGuessers {
			return
		}
		delete(b.clear, k)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// network is what an address counts as: itself, or for IPv6 the 64 bits that
// one subscriber has (RFC 6177).
func network(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return p.String()
}
