package store

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// maxShared is how many updates of one build share a transaction on PostgreSQL at most. It bounds how long the first of them waits.
const maxShared = 16

// errNotShared says that an update needs a transaction of its own.
var errNotShared = errors.New("not in a shared transaction")

// lanes let the updates of one build go one after the other. Those that wait share the next transaction: they would wait for the same
// row of the database, each with a connection, and hand it over at the price of a commit and a wake-up each.
type lanes struct {
	run func(ctx context.Context, how transaction, fn func(*Tx) error) error

	mu      sync.Mutex
	waiting map[string][]*request // by build; one without requests is led all the same
	builds  map[string]string     // of jobs, which never change it
}

// transaction says how one is made.
type transaction struct {
	shared bool // by several updates of a build
	soon   bool // it need not be durable when it is committed
}

// maxKnown bounds how many jobs' builds are remembered.
const (
	maxKnown      = 20_000
	sqlBuildOfJob = `SELECT build_id FROM jobs WHERE id = $1`
)

func (l *lanes) buildOf(ctx context.Context, r Reader, job string) (string, error) {
	l.mu.Lock()
	build, known := l.builds[job]
	l.mu.Unlock()
	if known {
		return build, nil
	}
	build, err := one(ctx, r.q, scanString, sqlBuildOfJob, job)
	if err != nil {
		return "", err
	}
	l.learn(job, build)
	return build, nil
}

func (l *lanes) learn(job, build string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.builds == nil || len(l.builds) >= maxKnown {
		l.builds = map[string]string{}
	}
	l.builds[job] = build
}

// update runs fn in the lane of a build.
func (l *lanes) update(ctx context.Context, build string, soon bool, fn func(*Tx) error) error {
	r := &request{ctx: ctx, fn: fn, soon: soon, done: make(chan struct{}), lead: make(chan []*request, 1)}
	if l.enter(build, r) {
		l.lead(build, []*request{r})
	} else {
		select {
		case <-r.done:
		case group := <-r.lead:
			l.lead(build, group)
		}
	}
	if r.panics != nil {
		panic(r.panics) // the caller's own, moved back to its goroutine
	}
	return r.err
}

// enter reports true if nobody leads the lane, and lets r wait otherwise.
func (l *lanes) enter(build string, r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = map[string][]*request{}
	}
	others, led := l.waiting[build]
	if led {
		others = append(others, r)
	}
	l.waiting[build] = others
	return !led
}

// lead runs a group, of which its caller's request is the first, and passes the lane on.
func (l *lanes) lead(build string, group []*request) {
	defer l.pass(build)
	l.settle(group)
	for _, r := range group[1:] {
		close(r.done)
	}
}

func (l *lanes) pass(build string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.waiting[build]
	if len(next) == 0 {
		delete(l.waiting, build)
		return
	}
	n := min(len(next), maxShared)
	l.waiting[build] = next[n:]
	next[0].lead <- next[:n:n]
}

// settle runs a group in one transaction, or each of it in its own if that fails. What may have been done it does not do again.
func (l *lanes) settle(group []*request) {
	if len(group) > 1 {
		err := l.together(group)
		if err == nil {
			return
		}
		if errors.Is(err, errUnsure) {
			for _, r := range group {
				r.err = err
			}
			return
		}
	}
	for _, r := range group {
		r.err, r.panics = nil, nil
		if err := l.run(r.ctx, transaction{soon: r.soon}, r.attempt); r.err == nil {
			r.err = err
		}
	}
}

func (l *lanes) together(group []*request) error {
	how := transaction{shared: true, soon: !slices.ContainsFunc(group, func(r *request) bool { return !r.soon })}
	return l.run(context.WithoutCancel(group[0].ctx), how, func(tx *Tx) error {
		for _, r := range group {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			if err := r.attempt(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// attempt runs the request, whose panic is its failure.
func (r *request) attempt(tx *Tx) error {
	r.panics, r.err = nil, nil
	r.run(tx)
	if r.panics != nil {
		return errors.New("a panic")
	}
	return r.err
}
