package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// The fixtures are one literal of every page, rich enough to look at: every
// test that needs a rendered page starts from them.

var (
	noon   = time.Date(2026, 11, 12, 14, 8, 21, 0, time.UTC)
	people = Viewer{Handle: "ana", Email: "ana@example.com"}
	org    = Org{Slug: "main", Name: "brackwater"}
)

type fixture struct {
	Name     string // its path in the fixture server
	Template string
	Data     any
}

func before(d time.Duration) time.Time { return noon.Add(-d) }

func ran(start, took time.Duration) Span {
	return Span{Start: before(start), End: before(start).Add(took), Now: noon}
}

func running(since time.Duration) Span { return Span{Start: before(since), Now: noon} }

func at(d time.Duration) Moment { return Moment{At: before(d), Now: noon} }

func frame(title, current string, topics ...string) Frame {
	return Frame{
		Title: title, Org: org, Current: current, Viewer: people, Now: noon, Topics: topics,
		Fleet: Fleet{Running: 9, Waiting: 3, Agents: 11}, Scripts: []string{"live.js", "keys.js", "ui.js"},
		Jump: []Link{{Text: "test #4832 Reject zero retain-history windows", Href: "/build", State: Failing}, {Text: "deploy", Href: "/pipeline"}},
	}
}

// marksOf reads one letter a job: p passed, f failed, g failing, s soft, r
// running, q scheduled, w waiting, b blocked, a approval, l lost, c canceled, t
// timed out, k skipped, n not run, u stuck.
func marksOf(codes string) []State {
	of := map[rune]State{
		'p': Passed, 'f': Failed, 'g': Failing, 's': Soft, 'r': Running, 'q': Scheduled, 'w': Waiting, 'b': Blocked,
		'a': Approval, 'l': Lost, 'c': Canceled, 't': TimedOut, 'k': Skipped, 'n': NotRun, 'u': Stuck,
	}
	out := make([]State, 0, len(codes))
	for _, c := range codes {
		out = append(out, of[c])
	}
	return out
}

func recent(codes string, seed int) []Bar {
	out := []Bar{}
	for k, s := range marksOf(codes) {
		took := time.Duration(420+(k*37*seed)%90) * time.Second
		switch s {
		case Failed:
			took /= 2
		case Canceled, Running:
			took /= 3
		}
		out = append(out, Bar{State: s, Took: took})
	}
	return out
}

func homeFixture() HomePage {
	row := func(name, about string, s State, codes string, seed int, rate float64, median, change, wait, p95 time.Duration, now ...Tally) PipelineRow {
		return PipelineRow{Slug: name, Name: name, Description: about, State: s, Recent: recent(codes, seed), PassRate: rate, Median: median, Change: change, Wait: wait, WaitP95: p95, Active: now, Href: "/pipeline"}
	}
	return HomePage{
		Frame: frame("Pipelines", "pipelines", "org"), CanCreate: true,
		Needs: []Need{
			{Approval, "test #4831", "waits for approval", "Fork pull request 918 by @driftwood changes 2 CI-sensitive files. Nothing has run.", before(22 * time.Minute), "/build", "Review"},
			{Stuck, "test #4830", "waits for an agent that does not exist", "mac smoke: no agent matches queue=mca. Did you mean mac?", before(31 * time.Minute), "/build", "Fix"},
			{Blocked, "deploy #1207", "waits for an answer", "Release to production?", before(40 * time.Minute), "/build", "Open"},
		},
		Pipelines: []PipelineRow{
			row("test", "Lint, build, cargo test, testdrive, sqllogictest", Passed, "pppppppfpppppppppspppplpppppppfppppppr", 3, .941, 468*time.Second, -22*time.Second, 14*time.Second, 130*time.Second, Tally{Running, 2}),
			row("deploy", "Staging, then production behind a gate", Blocked, "ppppppppppppppppfpppppppppppcppppppppb", 5, .986, 242*time.Second, 0, 3*time.Second, 11*time.Second, Tally{Blocked, 1}),
			row("nightly", "Long testdrive, upgrade from three releases, full sqllogictest", Passed, "ppfpppppfppsppppppppppfffpppppppppppp", 8, .867, 6720*time.Second, 360*time.Second, 48*time.Second, 390*time.Second),
			row("docs", "Build and link-check the manual", Passed, "pppppppppppppppppppp", 20, 1, 64*time.Second, 0, 2*time.Second, 4*time.Second),
			{Slug: "fresh", Name: "fresh", Href: "/pipeline"},
		},
		Mine: []BuildRow{
			{ID: "b1", Pipeline: "test", Number: 4832, Message: "Reject zero retain-history windows at parse time", State: Failing, Jobs: marksOf("pppgsspprpqww"), Took: running(372 * time.Second), Created: at(372 * time.Second), Href: "/build"},
			{ID: "b2", Pipeline: "test", Number: 4824, Message: "Keep the compaction frontier monotone across restarts", State: Passed, Jobs: marksOf("pppppppppppp"), Took: ran(3*time.Hour, 451*time.Second), Created: at(162 * time.Minute), Href: "/build"},
		},
		Queues: []QueueRow{{"default", 6, 8, 0}, {"builder", 2, 2, 1}, {"mac", 1, 1, 1}, {"perf", 0, 0, 2}},
	}
}

func buildRows() []BuildRow {
	row := func(n int, s State, msg, pr, branch, commit, who, why, jobs string, took Span, waited, created time.Duration) BuildRow {
		return BuildRow{ID: fmt.Sprint(n), Number: n, State: s, Message: msg, PR: pr, Branch: branch, Commit: commit + strings.Repeat("0", 33), Author: who, Why: why, Jobs: marksOf(jobs), Took: took, Waited: waited, Created: at(created), Href: "/build"}
	}
	m, s := time.Minute, time.Second
	return []BuildRow{
		row(4833, Running, "Spill arrangements to disk above 2 GiB", "", "main", "e20b7d4", "@kit", "merge of PR 915", "ppprqwwwwwww", running(68*s), 6*s, 68*s),
		row(4832, Failing, "Reject zero retain-history windows at parse time", "912", "ana/retain-history", "a3f9c1e", "@ana", "push", "pppgspprrpqww", running(372*s), 98*s, 372*s),
		row(4831, Approval, "Parse WITHIN TIMESTAMP ORDER BY", "918 from a fork", "driftwood:within-ts", "9be01d4", "@driftwood", "2 CI-sensitive files", "aaaaaaaaaaaa", Span{}, 0, 22*m),
		row(4830, Stuck, "Move smoke tests to the new mac", "", "sol/mac-mini", "51c7e0a", "@sol", "no agent serves queue=mca", "ppppppppppuww", running(38*m), 31*m, 38*m),
		row(4829, Passed, "Bump the Kafka client to 0.37.1", "", "main", "0d5ab92", "@dep-bot", "merge of PR 911", "pppppppppppp", ran(56*m, 442*s), 9*s, 56*m),
		row(4828, Canceled, "Bump the Kafka client to 0.37.1", "911", "dep/kafka-0.37.1", "c9911fe", "@dep-bot", "replaced by #4829", "pppccccccccc", ran(60*m, 160*s), 12*s, 60*m),
		row(4827, Soft, "Name the offending column in decode errors", "909", "noor/decode-errors", "7f03bb8", "@noor", "miri may fail", "ppppsppppppp", ran(88*m, 484*s), 21*s, 88*m),
		row(4826, Failed, "Free the persist lease before the reader drops", "", "main", "d41e6c3", "@kit", "testdrive 3/4 crashed", "pppppppfppnn", ran(126*m, 411*s), 18*s, 126*m),
		row(4825, Lost, "Order catalog migrations by version", "907", "sol/catalog-order", "b6e2a90", "@sol", "2 agents lost, retries used up", "pppppplppppn", ran(140*m, 675*s), 122*s, 140*m),
		row(4824, Passed, "Keep the compaction frontier monotone across restarts", "906", "ana/frontier", "4c88d17", "@ana", "push", strings.Repeat("p", 60)+"f", ran(162*m, 451*s), 4*s, 162*m),
		row(4823, TimedOut, "Widen the join planner's search", "", "kit/wide-joins", "e77f310", "@kit", "sqllogictest passed its 20 min limit", "pppppppptppn", ran(197*m, 24*m), 7*s, 197*m),
		row(4822, Skipped, "Fix typos in the sink manual", "905", "noor/sink-docs", "19ad0ce", "@noor", "only doc/ changed", "pkkkkkkkkkkk", ran(26*time.Hour, 4*s), 1*s, 26*time.Hour),
	}
}

func buildsFixture() BuildsPage {
	rows := buildRows()
	for k := range rows {
		rows[k].Pipeline = "test"
	}
	return BuildsPage{Frame: frame("Builds", "builds", "org"), Filters: Filters{Action: "/builds"}, States: choices(), Builds: rows, Older: "/builds?before=4822", Total: 1940}
}

func choices() []Choice {
	return []Choice{{"All", "/pipeline", 0, true}, {"Active", "/pipeline?state=active", 4, false}, {"Failed", "/pipeline?state=failed", 0, false}, {"Mine", "/pipeline?state=mine", 0, false}}
}

func pipelineFixture() PipelinePage {
	return PipelinePage{
		BuildsPage: BuildsPage{Frame: frame("test", "pipelines", "pipe:test"), Filters: Filters{Action: "/pipeline"}, States: choices(), Builds: buildRows(), Older: "/pipeline?before=4822", Total: 1940},
		Slug:       "test", Name: "test", Description: "Lint, build, cargo test, testdrive, sqllogictest", Repository: "git@github.com:brackwater/brack.git", Worst: Passed, CanBuild: true,
		Figures: []Figure{
			{Key: "Pass rate on main, 7 days", Value: "94.1%", Small: "128 of 136", Trend: []float64{91, 92, 90, 93, 94, 92, 95, 94, 94, 96, 93, 94}},
			{Key: "Median build", Value: "7m 48s", Small: "22 s faster", Trend: []float64{510, 508, 500, 512, 498, 490, 485, 480, 476, 470, 472, 468}},
			{Key: "Median queue wait", Value: "14 s", Small: "p95 2m 10s", Trend: []float64{12, 10, 14, 30, 18, 12, 10, 26, 44, 22, 16, 14}},
		},
		Form: newBuildFixture(),
	}
}

func newBuildFixture() NewBuildForm {
	return NewBuildForm{Pipeline: "test", Action: "/main/test/builds", Back: "/pipeline", Branch: "main", Commit: "HEAD", Env: "TESTDRIVE_SEED=4182\nRUST_LOG=coord=debug", Fields: askFixture().Ask.Fields}
}

func headFixture() BuildHead {
	return BuildHead{
		ID: "4832", Version: "7", State: Failing, Message: "Reject zero retain-history windows at parse time", Branch: "ana/retain-history", Commit: "a3f9c1e" + strings.Repeat("0", 33), PR: "PR 912",
		Crumbs: []Crumb{{"Pipelines", "/home"}, {"test", "/pipeline"}, {"#4832", "/build"}}, Author: "@ana", Why: "push", Created: at(372 * time.Second), Took: running(372 * time.Second),
		Waited: 98 * time.Second, Left: 130 * time.Second, Trust: Trust{"Trusted", "branch of this repository, rule 2", "shield-check"}, Jobs: marksOf("pppgspprrpqww"), Artifacts: 9,
		Actions: BuildActions{Cancel: "/confirm", Rebuild: "/rebuild", RetryWhyNot: "Nothing to retry yet: cargo test is still running"},
	}
}

func stepsFixture() []StepRow {
	job := func(id string, s State, label string, took time.Duration, why string) StepRow {
		r := StepRow{Kind: RowJob, ID: id, Version: "7", State: s, Label: label, Href: "/build?job=" + id, Why: why}
		switch {
		case s == Running || s == Failing:
			r.Took = running(took)
		case took > 0:
			r.Took = ran(6*time.Minute, took)
		}
		return r
	}
	s := time.Second
	cur := job("cargo", Failing, ":rust: cargo test", 139*s, "1 of 884 tests failed so far")
	cur.Current = true
	return []StepRow{
		job("up", Passed, ":pipeline: upload", 3*s, ""),
		{Kind: RowGroup, ID: "g1", Label: "Checks", Done: 2, Total: 2},
		job("lint", Passed, ":lint: lint", 58*s, ""),
		job("build", Passed, ":docker: build", 118*s, ""),
		{Kind: RowGroup, ID: "g2", Label: "Tests", Done: 4, Total: 8},
		cur,
		job("miri", Soft, ":micro: miri", 194*s, "exit 1, this step may fail"),
		job("td1", Passed, ":test: testdrive 1/4", 208*s, ""),
		job("td2", Passed, ":test: testdrive 2/4", 201*s, ""),
		job("td3", Running, ":test: testdrive 3/4", 235*s, ""),
		job("td4", Running, ":test: testdrive 4/4", 136*s, "attempt 2"),
		{Kind: RowFold, ID: "slt", Version: "7", State: Running, Label: ":sql: sqllogictest", Done: 14, Total: 24, Jobs: marksOf("pppppppppppppprrrrqqqqqq"), Rows: []StepRow{job("slt1", Passed, "sqllogictest 1/24", 70*s, ""), job("slt2", Running, "sqllogictest 2/24", 70*s, "")}},
		job("mac", Stuck, ":mac: mac smoke", 0, "no agent matches queue=mca. Did you mean mac?"),
		{Kind: RowWait, ID: "w1", Label: "wait for all"},
		job("gate", Waiting, ":gate: Release to staging?", 0, "asks a person once all tests pass"),
		job("trig", Waiting, ":deploy: deploy", 0, "starts pipeline deploy"),
	}
}

func logFixture(live bool) *LogPane {
	pass := func(name string) template.HTML {
		return template.HTML(`<span class="term-fg32">PASS</span> [   0.041s] <span class="term-fg35">brack-sql::parse</span> ` + name)
	}
	groups := []LogGroup{
		{Start: 1, End: 40, Title: "Preparing working directory", Took: ran(5*time.Minute, 3*time.Second)},
		{Start: 41, End: 66, Title: "Restoring cargo target, 18.2 GB, snapshot of main", Took: ran(5*time.Minute, 8*time.Second), Muted: true},
		{Start: 67, End: 1185, Title: "Compiling 61 of 412 crates", Took: ran(5*time.Minute, 112*time.Second), Errors: 2},
		{Start: 1186, End: 1208, Title: "cargo nextest run --workspace --no-fail-fast", Took: running(15 * time.Second), Open: true, Live: live},
	}
	lines := []LogLine{}
	for n := 1175; n <= 1208; n++ {
		line := LogLine{No: n, At: before(time.Duration(1208-n) * 400 * time.Millisecond), HTML: pass("round_trip_" + fmt.Sprint(n))}
		switch n {
		case 1190:
			line.Class, line.HTML = "er", `<span class="term-fg31"><span class="term-fg1">FAIL</span></span> [   0.031s] <span class="term-fg35">brack-sql::parse</span> <span class="term-fg1">retain_history_rejects_zero</span>`
		case 1191:
			line.HTML = `<span class="term-fg31">──── STDERR:</span>            <span class="term-fg35">brack-sql::parse</span> retain_history_rejects_zero`
		case 1192:
			line.HTML = "thread &#39;retain_history_rejects_zero&#39; panicked at src/sql-parser/tests/parse.rs:88:5:"
		case 1193:
			line.Class, line.HTML = "er", "assertion `left == right` failed: a zero window must not parse"
		case 1194:
			line.HTML = `  left: <span class="term-fg31">Ok(RetainHistory { window: 0ns })</span>`
		case 1195:
			line.HTML = ` right: <span class="term-fg32">Err(ParseError { kind: ZeroWindow, pos: 41 })</span>`
		case 1196:
			line.HTML = `<span class="term-fgi90">note: run with ` + "`RUST_BACKTRACE=1`" + ` environment variable to display a backtrace</span>`
		}
		lines = append(lines, line)
	}
	return &LogPane{
		Base: "/jobs/cargo", Label: "cargo test", Total: 1208, Bytes: 96123, First: 1175, Blocks: groupLines(lines, groups), Groups: groups, ErrorLine: 1190,
		Live: live, Started: before(139 * time.Second), Last: before(time.Second), Now: noon, Zone: "UTC", Prev: "/jobs/cargo?from=975",
	}
}

// longLog is a range of a log whose lines follow from their numbers.
func longLog(from, total int) []LogLine {
	known := map[int]LogLine{}
	p := logFixture(true)
	for _, b := range p.Blocks {
		for _, l := range b.Lines {
			known[l.No] = l
		}
	}
	for k := range p.Groups {
		g := p.Groups[k]
		known[g.Start] = LogLine{No: g.Start, Head: &g}
	}
	out := []LogLine{}
	for n := from; n < from+2000 && n <= total; n++ {
		l, ok := known[n]
		if !ok || total > 2000 && l.Head == nil {
			l = LogLine{No: n, At: noon, HTML: template.HTML(fmt.Sprintf(`<span class="term-fg32">Compiling</span> unit %d of the workspace`, n))}
			if n%997 == 0 {
				l.Class, l.HTML = "er", template.HTML(fmt.Sprintf("error: unit %d does not compile", n))
			}
		}
		out = append(out, l)
	}
	return out
}

func longFixture() BuildPage {
	p := failedFixture()
	l := *p.Job.Log
	l.Base, l.Total, l.Bytes, l.Next = "/jobs/long", 1_000_000, 61_000_000, "/build-long?from=1400"
	l.Groups = append([]LogGroup(nil), l.Groups...)
	l.Groups[3].End = 1_000_000
	p.Job.Log = &l
	return p
}

func buildFixture() BuildPage {
	f := frame("#4832 cargo test", "pipelines", "build:4832", "log:cargo")
	f.Body = "fit"
	f.Scripts = append(f.Scripts, "log.js")
	return BuildPage{
		Frame: f, Head: headFixture(), Steps: stepsFixture(), StepsRef: "/build", FilesRef: "/build-artifacts",
		Notes: []Annotation{
			{ID: "a1", State: Failed, Summary: "1 test failed brack-sql::parse retain_history_rejects_zero: a zero window must not parse", Body: "<p>First seen in this build. The test is new in <code>a3f9c1e</code>, so main cannot have it.</p>", From: ":rust: cargo test", Href: "/build"},
			{ID: "a2", State: Scheduled, Summary: "Image reused ci-builder 9f3c2ad was already on builder-1, which saved 3m 10s", Body: "<p>Digest sha256:9f3c2ad, 2.1 GB.</p>", From: "build", Href: "/build"},
		},
		Job: &JobPane{
			ID: "cargo", Version: "7", State: Failing, Label: ":rust: cargo test", Command: "ci/test/cargo.sh --workspace", Agent: "builder-2", Cancel: "/confirm",
			Phases: []Phase{{Name: "queued", Took: ran(400*time.Second, 14*time.Second)}, {Name: "ran", Took: running(139 * time.Second)}},
			Tabs:   []Choice{{"Log", "/build", 0, true}, {"Artifacts", "/build-artifacts", 2, false}},
			Log:    logFixture(true),
		},
		Cancel: confirmFixture(),
	}
}

func confirmFixture() ConfirmForm {
	return ConfirmForm{ID: "cancel", Title: "Cancel build #4832?", Text: "3 jobs stop now and 3 will not start. Their logs so far are kept. Canceling cannot be undone, but you can rebuild the commit.", Action: "/cancel", Safe: "Keep running", Do: "Cancel build", Back: "/build"}
}

func failedFixture() BuildPage {
	p := buildFixture()
	p.Title, p.Topics = "#4826 testdrive 3/4", []string{"build:4826"}
	p.Head.State, p.Head.Jobs, p.Head.Took, p.Head.Left = Failed, marksOf("pppppppfpppnn"), ran(411*time.Second, 411*time.Second), 0
	p.Head.Actions = BuildActions{Rebuild: "/rebuild", RetryFailed: "/retry"}
	p.Notes, p.Cancel = nil, ConfirmForm{}
	p.Frame.Title = "#4826 testdrive 3/4"
	j := *p.Job
	j.State, j.Cancel, j.Retry, j.Log = Failed, "", "/retry", logFixture(false)
	j.Label = ":test: testdrive 3/4"
	j.Phases = []Phase{{Name: "queued", Took: ran(400*time.Second, 4*time.Second)}, {Name: "ran", Took: ran(300*time.Second, 168*time.Second)}, {Name: "exit", Text: "139"}}
	j.Attempts = []Attempt{{1, Lost, "/build", false}, {2, Failed, "/build", true}}
	p.Job = &j
	return p
}

func askFixture() BuildPage {
	p := buildFixture()
	p.Job, p.Notes, p.Head.State = nil, nil, Blocked
	p.Ask = &AskPane{State: Blocked, Label: "Release to staging", Prompt: "Every test has passed. Which ring gets it first?", Action: "/unblock", Fields: []Field{
		{Name: "ring", Label: "Ring", Required: true, Options: []Option{{"Canary, 1%", "canary", true}, {"Everyone", "all", false}}, Value: "canary"},
		{Name: "regions", Label: "Regions", Multiple: true, Options: []Option{{"Europe", "eu", true}, {"America", "us", false}}},
		{Name: "note", Label: "Release note", Hint: "One line. It goes to the channel.", Required: true, Problem: "Release note is required"},
	}}
	return p
}

func idleFixture() BuildPage {
	p := buildFixture()
	j := *p.Job
	j.State, j.Label, j.Log, j.Phases, j.Agent = Stuck, ":mac: mac smoke", nil, nil, ""
	j.Idle = &IdlePane{State: Stuck, Title: "No agent matches queue=mca", Text: "The job waits until an agent with these tags connects. Agents of queue mac are connected: did you mean mac?"}
	p.Job, p.Notes = &j, nil
	return p
}

func unplannedFixture() BuildPage {
	p := buildFixture()
	p.Job, p.Notes, p.Steps, p.Head.State, p.Head.Jobs = nil, nil, nil, Failed, nil
	p.Idle = &IdlePane{State: Failed, Title: "The pipeline could not be planned", Text: "No step was made, so nothing has run.", Code: ".buildkite/pipeline.yml:3:5: a step has no command\n<script>"}
	return p
}

func agentsFixture() AgentsPage {
	base := "/agents/"
	return AgentsPage{
		Frame: frame("Agents", "agents", "agents"), Total: 11, MayManage: true, More: "/agents?after=x",
		Queues: []QueueRow{{Name: "builder", Busy: 2, Agents: 2, Waiting: 1}, {Name: "default", Busy: 6, Agents: 24}, {Name: "mca", Waiting: 1}},
		Agents: []AgentRow{
			{ID: "1", Name: "builder-1", State: Running, Word: "Busy", Queue: "builder", Tags: []string{"os=linux", "cores=32"}, Version: "3.138.1", Host: "linux amd64", Build: "test #4833", Job: "build", Href: "/build", Up: running(5 * time.Hour), Pause: base, Stop: base},
			{ID: "2", Name: "builder-2", State: Created, Word: "Idle", Queue: "builder", Version: "3.138.1", Host: "linux amd64", Up: running(139 * time.Second), Pause: base, Stop: base},
			{ID: "3", Name: "mac-mini-1", State: Blocked, Word: "Paused", Note: "by ana until 14:30", Queue: "mac", Version: "0.1.0", Host: "darwin arm64", Up: running(19 * 24 * time.Hour), Resume: base, Stop: base},
			{ID: "4", Name: "default-6c1", State: Canceled, Word: "Stopping", Queue: "default", Version: "3.138.1", Up: running(100 * time.Minute)},
		},
	}
}

func artifactsFixture() BuildPage {
	p := failedFixture()
	p.Files = &ArtifactsPane{ByJob: true, Files: []Artifact{
		{Path: "target/nextest/junit.xml", Size: 48211, Job: ":rust: cargo test", Href: "/artifacts/1", Ready: true},
		{Path: "core.brackd.3127", Size: 412_300_000, Job: ":test: testdrive 3/4", Href: "/artifacts/2", Ready: true},
		{Path: "logs/kafka.log", Size: 3_100_000, Job: ":test: testdrive 3/4", State: "is being uploaded"},
	}}
	return p
}

func fixtures() []fixture {
	empty := homeFixture()
	empty.Needs, empty.Pipelines, empty.Mine, empty.Queues, empty.Fleet = nil, nil, nil, nil, Fleet{}
	none := pipelineFixture()
	none.Builds, none.Figures, none.State = nil, nil, "failed"
	bare := Frame{Title: "Sign in", Now: noon}
	page := frame("Cancel build #4832?", "pipelines")
	return []fixture{
		{"home", "home", homeFixture()},
		{"home-empty", "home", empty},
		{"builds", "builds", buildsFixture()},
		{"pipeline", "pipeline", pipelineFixture()},
		{"pipeline-none", "pipeline", none},
		{"newbuild", "newbuild", NewBuildPage{Frame: page, Crumbs: headFixture().Crumbs[:2], Form: NewBuildForm{Pipeline: "test", Branch: "main", Commit: "HEAD", Problem: "RUST-LOG is not a variable name: letters, digits and _ only.", Field: "env", Env: "RUST-LOG=1", Action: "/x", Back: "/pipeline"}}},
		{"build", "build", buildFixture()},
		{"build-failed", "build", failedFixture()},
		{"build-long", "build", longFixture()},
		{"build-ask", "build", askFixture()},
		{"build-idle", "build", idleFixture()},
		{"build-artifacts", "build", artifactsFixture()},
		{"build-graph", "build", graphFixture("graph")},
		{"build-waterfall", "build", graphFixture("waterfall")},
		{"build-unplanned", "build", unplannedFixture()},
		{"agents", "agents", agentsFixture()},
		{"agent", "agent", agentFixture()},
		{"queue", "queue", queueFixture()},
		{"agents-none", "agents", AgentsPage{Frame: frame("Agents", "agents"), Queues: []QueueRow{{Name: "default", Waiting: 3}}}},
		{"listing", "listing", listingFixture()},
		{"listing-none", "listing", ListPage{SettingsFrame: settingsFixture("Secrets"), Title: "Secrets", Empty: "No secret yet", EmptyText: "A secret is a value that jobs read.", Icon: "lock"}},
		{"sheet", "sheet", sheetFixture()},
		{"team", "team", teamFixture()},
		{"fresh", "fresh", FreshPage{settingsFixture("New API token"), Sheet{Title: "New API token", Back: "/main"}, "bkua_0123456789"}},
		{"confirm", "confirmpage", ConfirmPage{Frame: page, Crumbs: headFixture().Crumbs, Form: confirmFixture()}},
		{"sign-in", "signin", SignInPage{Frame: bare, Next: "/main/test"}},
		{"sign-in-link", "signin", SignInPage{Frame: bare, Code: "abc"}},
		{"sign-in-wrong", "signin", SignInPage{Frame: bare, Email: "ana@example.com", Problem: "This email and password do not belong together."}},
		{"setup", "setup", SetupPage{Frame: Frame{Title: "Make your account", Now: noon}, Version: "0.1.0"}},
		{"error", "error", ErrorPage{Frame: frame("Not found", ""), Status: 404, State: NotRun, Title: "There is no build 9999 of test", Text: "The newest is #4833. Builds keep their number for good, so this one never existed.", Links: []Link{{Text: "Builds of test", Href: "/pipeline"}}}},
		{"error-out", "error", ErrorPage{Frame: Frame{Title: "Error", Now: noon}, Status: 500, State: Lost, Title: "This page could not be made", Text: "Builds and agents are not affected. Try again; if it stays, give the reference to whoever runs this server.", Reference: "7f3a91"}},
	}
}
