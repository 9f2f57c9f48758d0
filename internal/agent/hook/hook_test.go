package hook

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// writeProgram lets no other test start a process meanwhile: it would hold the
// file open for writing for a moment, and a file that is written is not run.
func writeProgram(t *testing.T, path, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, script string) (Effect, string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "pre-command")
	writeProgram(t, file, script)
	var out bytes.Buffer
	s := &shell.Shell{
		Env: shell.Env{"PATH": os.Getenv("PATH"), "KEEP": "1", "CHANGE": "1", "DROP": "1"},
		Dir: dir, Log: shell.NewLog(&out), PTY: true, Signal: syscall.SIGTERM, Grace: time.Second,
	}
	e, err := Run(t.Context(), s, Hook{
		Name: "pre-command", Scope: "agent", Path: file, Env: shell.Env{"FROM_PLUGIN": "p"},
	})
	if e.Dir != "" {
		e.Dir = strings.TrimPrefix(e.Dir, dir)
	}
	return e, out.String(), err
}

func TestExportsAndDirectoryBecomeTheJobs(t *testing.T) {
	t.Parallel()
	e, _, err := run(t, "#!/bin/bash\nset -e\nexport CHANGE=$'two\\nlines' NEW=\"$FROM_PLUGIN\"\nunset DROP\nLOCAL=no\nPATH=/nowhere\n/bin/mkdir sub; cd sub\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Effect{
		Env: shell.Diff{Set: shell.Env{"CHANGE": "two\nlines", "NEW": "p", "PATH": "/nowhere"}, Unset: []string{"DROP"}},
		Dir: "/sub",
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

func TestAHookThatFailsFailsWithItsStatus(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"exit 9", "#!/bin/sh\n(exit 9)", "#!/usr/bin/env bash\nset -e\n(exit 9)\ntrue"} {
		_, _, err := run(t, script)
		if shell.ExitCode(err) != 9 || !strings.Contains(err.Error(), "the agent pre-command hook") {
			t.Errorf("%q: ended with %v", script, err)
		}
	}
}

func TestAHookThatExitsEarlyChangesNothing(t *testing.T) {
	t.Parallel()
	e, _, err := run(t, "export NEW=1\nexit 0\n")
	if diff := cmp.Diff(Effect{}, e); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestOtherLanguagesRunAsTheyAre(t *testing.T) {
	t.Parallel()
	e, out, err := run(t, "#!/usr/bin/awk -f\nBEGIN { print ENVIRON[\"BUILDKITE_HOOK_PHASE\"], ENVIRON[\"BUILDKITE_HOOK_SCOPE\"] }\n")
	if err != nil || len(e.Env.Set) != 0 || !strings.Contains(out, "pre-command agent\r\n") {
		t.Errorf("%v, %v, %q", err, e, out)
	}
}

func TestALinkOutOfTheCheckoutIsNoHook(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Symlink("/bin/true", filepath.Join(root, "pre-command")); err != nil {
		t.Fatal(err)
	}
	if p, err := FindIn(root, ".", "pre-command"); err == nil {
		t.Errorf("found %q", p)
	}
}
