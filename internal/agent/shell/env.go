package shell

import (
	"maps"
	"slices"
	"strings"
)

// Env is the environment of a job: names to values.
type Env map[string]string

// FromList reads "NAME=value" entries. The last of several with one name wins;
// entries without "=" are dropped.
func FromList(list []string) Env {
	env := make(Env, len(list))
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

// List returns "NAME=value" entries sorted by name.
func (e Env) List() []string {
	list := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		list = append(list, name+"="+e[name])
	}
	return list
}

// Clone returns a copy.
func (e Env) Clone() Env { return maps.Clone(e) }

// With returns a copy of e with the entries of more, which win.
func (e Env) With(more Env) Env {
	all := make(Env, len(e)+len(more))
	maps.Copy(all, e)
	maps.Copy(all, more)
	return all
}

// Bool reads a switch the way the agent's variables are written: "true", "1",
// "on" and "yes" are true, "" gives the fallback, anything else is false.
func (e Env) Bool(name string, fallback bool) bool {
	switch strings.ToLower(e[name]) {
	case "":
		return fallback
	case "true", "1", "on", "yes":
		return true
	}
	return false
}

// Diff is what a hook changed. Unset is sorted.
type Diff struct {
	Set   Env
	Unset []string
}

// Diff returns what turns e into after.
func (e Env) Diff(after Env) Diff {
	d := Diff{Set: Env{}}
	for name, value := range after {
		if old, had := e[name]; !had || old != value {
			d.Set[name] = value
		}
	}
	for name := range e {
		if _, kept := after[name]; !kept {
			d.Unset = append(d.Unset, name)
		}
	}
	slices.Sort(d.Unset)
	return d
}

// Drop forgets the changes to the named variables and returns the names that
// were changed.
func (d *Diff) Drop(drop func(name string) bool) []string {
	var dropped []string
	for name := range d.Set {
		if drop(name) {
			dropped = append(dropped, name)
			delete(d.Set, name)
		}
	}
	d.Unset = slices.DeleteFunc(d.Unset, func(name string) bool {
		if drop(name) {
			dropped = append(dropped, name)
			return true
		}
		return false
	})
	slices.Sort(dropped)
	return dropped
}

// Apply carries the changes out on e.
func (e Env) Apply(d Diff) {
	maps.Copy(e, d.Set)
	for _, name := range d.Unset {
		delete(e, name)
	}
}
