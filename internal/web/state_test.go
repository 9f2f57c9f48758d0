package web

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
)

// Every job state has a look and, unless a duration says enough, a sentence
// with a number, a name or a reason in it.
func TestEveryJobStateExplainsItself(t *testing.T) {
	t.Parallel()
	tests := []struct {
		facts JobFacts
		look  State
		why   string
	}{
		{JobFacts{State: "pending"}, Created, "being planned"},
		{JobFacts{State: "waiting", WaitsFor: []string{"cargo test"}}, Waiting, "waits for cargo test"},
		{JobFacts{State: "waiting", WaitsFor: []string{"lint", "unit", "docs"}}, Waiting, "waits for lint and 2 more"},
		{JobFacts{State: "waiting_failed", FailedDep: "unit"}, NotRun, "unit failed"},
		{JobFacts{State: "blocked_failed"}, NotRun, "a step it needs failed"},
		{JobFacts{State: "unblocked_failed", FailedDep: "x"}, NotRun, "x failed"},
		{JobFacts{State: "blocked", Prompt: "Release?"}, Blocked, "asks: Release?"},
		{JobFacts{State: "unblocked", By: "ana", At: "14:20"}, Unblocked, "by ana at 14:20"},
		{JobFacts{State: "limiting", Group: "deploy"}, Limited, "waits for a slot of deploy"},
		{JobFacts{State: "limited", Group: "deploy", Slots: 2, Holders: []string{"#1", "#2"}}, Limited, "2 of 2 slots of deploy in use by #1 and #2"},
		{JobFacts{State: "limited", Group: "deploy", Slots: 1, Holders: []string{"#1"}, Ahead: 1}, Limited, "the slot of deploy is in use by #1, 2nd in line"},
		{JobFacts{State: "limited", Slots: 3, Holders: []string{"#1", "#1", "#2"}, Ahead: maxLine}, Limited, "3 of 3 slots in use by #1 and #2, far back in line"},
		{JobFacts{State: "waiting_failed", FailedDep: "unit", DepCanceled: true}, NotRun, "unit was canceled"},
		{JobFacts{State: "platform_limiting"}, Limited, "waits for a slot"},
		{JobFacts{State: "platform_limited"}, Limited, "waits for a slot"},
		{JobFacts{State: "scheduled", Queue: "mac", Serving: 1, Busy: 1}, Scheduled, "next on mac, 1 of 1 busy"},
		{JobFacts{State: "scheduled", Queue: "mac", Serving: 1, Ahead: 1}, Scheduled, "queued 2nd on mac"},
		{JobFacts{State: "scheduled", Queue: "mac", Serving: 2, Busy: 2, Ahead: maxLine}, Scheduled, "behind 200 or more on mac, 2 of 2 busy"},
		{JobFacts{State: "scheduled", Queue: "mac", Serving: 1, Halt: "queue mac is paused"}, Scheduled, "queue mac is paused"},
		{JobFacts{State: "scheduled", Queue: "mca", Halt: "no agent matches queue=mca; did you mean mac?"}, Stuck, "no agent matches queue=mca. Did you mean mac?"},
		{JobFacts{State: "reserved", Queue: "mac"}, Scheduled, "next on mac"},
		{JobFacts{State: "assigned", Agent: "b-2"}, Starting, "waits for b-2 to start it"},
		{JobFacts{State: "accepted"}, Starting, "waits for an agent to start it"},
		{JobFacts{State: "running"}, Running, ""},
		{JobFacts{State: "running", Attempt: 2}, Running, "attempt 2"},
		{JobFacts{State: "running", Promised: true}, Failing, "has promised to fail"},
		{JobFacts{State: "running", Promised: true, Reason: "the licence server is away"}, Failing, "has promised to fail: the licence server is away"},
		{JobFacts{State: "finished", ExitStatus: 4, Reason: "the licence server is away", FirstError: "error: x"}, Failed, "exit 4: the licence server is away"},
		{JobFacts{State: "finished", Passed: true}, Passed, ""},
		{JobFacts{State: "finished", ExitStatus: 101, FirstError: "1 test failed"}, Failed, "exit 101: 1 test failed"},
		{JobFacts{State: "finished", ExitStatus: 139, Signal: "SIGSEGV"}, Failed, "exit 139, SIGSEGV"},
		{JobFacts{State: "finished", ExitStatus: 1, Soft: true}, Soft, "exit 1, this step may fail"},
		{JobFacts{State: "finished", ExitStatus: -1, Lost: true, Agent: "d-6c1", At: "14:05", RetriedIn: 2}, Lost, "d-6c1 stopped answering and was given up at 14:05. Retried as attempt 2"},
		{JobFacts{State: "canceling", Grace: 10 * time.Second}, Canceled, "canceling, up to 10 s left"},
		{JobFacts{State: "canceled", By: "@kit", At: "12:04"}, Canceled, "by @kit at 12:04"},
		{JobFacts{State: "canceled", ReplacedBy: "#4829"}, Canceled, "replaced by #4829"},
		{JobFacts{State: "timing_out", Limit: 20 * time.Minute, Grace: 10 * time.Second}, TimedOut, "passed its limit of 20m 00s, ending, up to 10 s left"},
		{JobFacts{State: "timed_out", Limit: 20 * time.Minute}, TimedOut, "passed its limit of 20m 00s"},
		{JobFacts{State: "skipped", Reason: "only doc/ changed"}, Skipped, "only doc/ changed"},
		{JobFacts{State: "broken", Reason: "its condition does not hold"}, Broken, "its condition does not hold"},
		{JobFacts{State: "expired"}, Expired, "no agent took it in time"},
	}
	seen := map[string]bool{}
	for _, test := range tests {
		seen[test.facts.State] = true
		if got := test.facts.Look(); got != test.look {
			t.Errorf("%s looks %s, want %s", test.facts.State, got, test.look)
		}
		if got := test.facts.Why(); got != test.why {
			t.Errorf("%s says %q, want %q", test.facts.State, got, test.why)
		}
	}
	for _, s := range ci.JobStates {
		if !seen[string(s)] {
			t.Errorf("no case for %s", s)
		}
	}
}

// A build's header has one word, the first that applies.
func TestBuildLook(t *testing.T) {
	t.Parallel()
	tests := []struct {
		state string
		held  bool
		jobs  string
		want  State
	}{
		{"creating", true, "", Approval},
		{"creating", false, "", Created},
		{"scheduled", false, "qq", Scheduled},
		{"running", false, "pr", Running},
		{"running", false, "sr", Running},
		{"failing", false, "fr", Failing},
		{"running", false, "pu", Stuck},
		{"running", false, "ru", Running},
		{"blocked", false, "pbw", Blocked},
		{"failed", false, "lf", Failed},
		{"failed", false, "pl", Lost},
		{"failed", false, "pt", TimedOut},
		{"canceling", false, "rc", Canceled},
		{"canceled", false, "pf", Canceled},
		{"skipped", false, "k", Skipped},
		{"not_run", false, "k", Skipped},
		{"passed", false, "ps", Soft},
		{"passed", false, "pp", Passed},
	}
	seen := map[string]bool{}
	for _, test := range tests {
		seen[test.state] = true
		f := BuildFacts{State: test.state, Held: test.held, Jobs: marksOf(test.jobs)}
		if got := f.Look(); got != test.want {
			t.Errorf("%s with %q looks %s, want %s", test.state, test.jobs, got, test.want)
		}
	}
	for _, s := range ci.BuildStates {
		if !seen[string(s)] {
			t.Errorf("no case for %s", s)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	same := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	same(duration(58*time.Second), "58 s")
	same(duration(139*time.Second), "2m 19s")
	same(duration(112*time.Minute), "1h 52m")
	same(duration(19*24*time.Hour), "19 d")
	same(duration(-time.Second), "0 s")
	same(ago(22*time.Minute), "22 min")
	same(count(1234567), "1,234,567")
	same(count(-1200), "\u22121,200")
	same(size(999), "999 B")
	same(size(96_123), "96 kB")
	same(size(18_200_000_000), "18 GB")
	same(size(1_240), "1.2 kB")
	same(percent(.941), "94.1%")
	same(percent(1), "100%")
	same(ordinal(1)+ordinal(12)+ordinal(23)+ordinal(101), "1st12th23rd101st")
	same(shortCommit(strings.Repeat("a3f9c1e", 5)+"00000"), "a3f9c1e")
	same(shortCommit("HEAD"), "HEAD")
	same(labelText(":docker: build :tada: :nope:"), "build \U0001F389 nope")
	same(Moment{At: noon.Add(-time.Hour), Now: noon}.Text(), "13:08")
	same(Moment{At: noon.AddDate(0, 0, -1), Now: noon}.Text(), "11 Nov")
	same(Moment{At: noon.AddDate(-1, 0, 0), Now: noon}.Text(), "12 Nov 2025")
	same(local("/main/test?x=1"), "/main/test?x=1")
	for _, foreign := range []string{"", "//evil.test", "https://evil.test", `/\evil.test`, "javascript:alert(1)", "main"} {
		same(local(foreign), "/")
	}
}

// Hostile text in a label stays text.
func FuzzLabel(f *testing.F) {
	m := newMarks("/s.svg")
	for _, s := range []string{":docker: build", "<script>", `"><b`, "\u202eabc", "::", ":a:b:c:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := string(m.label(s))
		if strings.Count(got, "<") > 6 || strings.ContainsRune(got, '\u202e') {
			t.Errorf("%q became %q", s, got)
		}
		labelText(s)
	})
}

// A topic is read back as it was written, or refused.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"org", "build:x@7", "log:a@", "pipe:", "build:x@-1", "x:y@z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTopic(s)
		if err == nil && (got.kind == "" || got.seen < 0) {
			t.Errorf("%q became %+v", s, got)
		}
	})
}

// Variables are read line by line, and a value may hold anything but a line
// break.
func FuzzEnv(f *testing.F) {
	for _, s := range []string{"A=1\nB=x=y\n", "A", "1A=2", "\r\nA=\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		env, err := parseEnv(s)
		for name, value := range env {
			if err == nil && (!envName.MatchString(name) || strings.ContainsAny(value, "\n")) {
				t.Errorf("%q gave %q=%q", s, name, value)
			}
		}
	})
}

func TestALabelWithoutWhatItsJobsFillIn(t *testing.T) {
	t.Parallel()
	for label, want := range map[string]string{
		"shard %N/%t":                       "shard",
		"on {{matrix.os}}, {{ matrix.go }}": "on",
		":go: {{matrix}} tests :go:":        ":go: tests :go:",
		"{{matrix}}":                        "{{matrix}}",
		"plain":                             "plain",
	} {
		if got := withoutIndex(label); got != want {
			t.Errorf("withoutIndex(%q) = %q, want %q", label, got, want)
		}
	}
}
