package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dbtest"
)

// eachStore runs a test on an empty, open store of each kind. It may close the store itself.
func eachStore(t *testing.T, test func(t *testing.T, s *Store, o Options)) {
	t.Parallel()
	kinds := map[string]func(t *testing.T) Options{
		"sqlite":   func(t *testing.T) Options { return Options{Path: filepath.Join(t.TempDir(), "slipway.db")} },
		"postgres": func(t *testing.T) Options { return Options{Postgres: dbtest.Template(t, "store", migrated)} },
	}
	for name, options := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			test(t, reopen(t, o), o)
		})
	}
}

func migrated(dsn string) error {
	s, err := Open(context.Background(), Options{Postgres: dsn})
	if err != nil {
		return err
	}
	return s.Close()
}

func reopen(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func update(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func organization(id string) Organization {
	return Organization{ID: id, Slug: id, Name: id, CreatedAt: at(0)}
}

// insert adds an organization, the row that costs least.
func insert(ctx context.Context, id string) func(*Tx) error {
	return func(tx *Tx) error { return tx.InsertOrganization(ctx, organization(id)) }
}

func has(t *testing.T, s *Store, id string) bool {
	t.Helper()
	_, err := s.OrganizationByID(context.Background(), id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func at(seconds int) time.Time { return time.Date(2026, 11, 23, 12, 0, seconds, 0, time.UTC) }

// seed adds what a job needs around it: build b with step s, in queue q, and agents a1 and a2.
func seed(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	update(t, s, func(tx *Tx) error {
		b := Build{
			Build: ci.Build{State: ci.BuildRunning, CreatedAt: at(0)}, ID: "b", OrganizationID: "o", PipelineID: "p", Number: 1,
			Source: "ui", Verdict: Verdict{Decision: "allow"},
		}
		return errors.Join(
			tx.InsertOrganization(ctx, organization("o")),
			tx.InsertCluster(ctx, Cluster{ID: "c", OrganizationID: "o", Name: "c", CreatedAt: at(0)}),
			tx.InsertQueue(ctx, Queue{ID: "q", ClusterID: "c", Key: "default", RetryAffinity: ci.PreferWarmest, CreatedAt: at(0)}),
			tx.InsertPipeline(ctx, Pipeline{ID: "p", OrganizationID: "o", ClusterID: "c", Slug: "p", Name: "p", Settings: []byte("{}"), CreatedAt: at(0)}),
			tx.InsertAgentToken(ctx, AgentToken{ID: "t", ClusterID: "c", TokenHash: "t", CreatedAt: at(0)}),
			tx.InsertBuild(ctx, b),
			tx.InsertStep(ctx, step("s", "000001")),
			tx.InsertAgent(ctx, agent("a1")), tx.InsertAgent(ctx, agent("a2")),
		)
	})
}

func step(id, position string) Step {
	return Step{Step: ci.Step{ID: id, Kind: ci.StepCommand}, BuildID: "b", Position: position, Definition: []byte("{}")}
}

func agent(id string) Agent {
	return Agent{
		Agent: ci.Agent{State: ci.AgentConnected}, ID: id, ClusterID: "c", QueueID: "q", TokenHash: id, AgentTokenID: "t",
		Name: id, Tags: []string{}, Features: []string{}, CreatedAt: at(0),
	}
}

func job(id string) Job {
	return Job{
		Job:     ci.Job{ID: id, Kind: ci.JobScript, State: ci.JobScheduled, CreatedAt: at(0), ScheduledAt: at(0), RunnableAt: at(0)},
		BuildID: "b", StepID: "s", PipelineID: "p", Position: "000001", QueueID: "q", Rules: []string{}, RetryRule: -1,
		SpecJSON: []byte("{}"),
	}
}

func TestWhatWasCommittedIsThereAfterReopening(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, o Options) {
		seed(t, s)
		want := job("j")
		exit := 3
		want.ExitStatus, want.FinishedAt, want.Rules, want.TokenHash = &exit, at(7).Add(time.Microsecond), []string{"os=linux"}, "hash"
		update(t, s, func(tx *Tx) error { return tx.InsertJob(t.Context(), want) })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := reopen(t, o).Job(t.Context(), "j")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("err %v (-want +got):\n%s", err, diff)
		}
	})
}

// TestJobsOfAPlanAreKeptWhole changes each field of a planned job in turn: a plan's jobs are written in
// fewer columns, which must lose nothing.
func TestJobsOfAPlanAreKeptWhole(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		want := map[string]Job{}
		add := func(change func(*Job)) {
			j := job(fmt.Sprintf("j%03d", len(want)))
			change(&j)
			want[j.ID] = j
		}
		for _, f := range reflect.VisibleFields(reflect.TypeFor[Job]()) {
			add(func(j *Job) { changeField(reflect.ValueOf(j).Elem().FieldByIndex(f.Index), f.Name) })
		}
		add(func(j *Job) {
			j.Lease, j.AgentID = ci.Lease{State: ci.LeaseOffered, Agent: "a1", Deadline: at(9)}, "a1"
		})
		jobs := slices.Collect(maps.Values(want))
		update(t, s, func(tx *Tx) error { return tx.InsertJobs(t.Context(), jobs) })
		for id, w := range want {
			got, err := s.Job(t.Context(), id)
			if diff := cmp.Diff(w, got); err != nil || diff != "" {
				t.Errorf("err %v (-want +got):\n%s", err, diff)
			}
		}
	})
}

// changeField gives a field of a job another value than that of a new one, but for what refers to other rows
// or follows from others.
func changeField(v reflect.Value, name string) {
	n := 7
	switch {
	case slices.Contains([]string{"ID", "BuildID", "StepID", "PipelineID", "Kind", "State"}, name):
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(at(n)))
	case v.Type() == reflect.TypeFor[*int]():
		v.Set(reflect.ValueOf(&n))
	case v.Kind() == reflect.String:
		v.SetString("other")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(7)
	}
}

func TestAnErrorRollsBackEverything(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		wrong := errors.New("wrong")
		err := s.Update(t.Context(), func(tx *Tx) error {
			return errors.Join(insert(t.Context(), "one")(tx), insert(t.Context(), "two")(tx), wrong)
		})
		if !errors.Is(err, wrong) || has(t, s, "one") || has(t, s, "two") {
			t.Errorf("err %v, one %v, two %v", err, has(t, s, "one"), has(t, s, "two"))
		}
	})
}

func TestUpdatesSideBySideDoNotShareTheirErrors(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		const n = 20
		var wg sync.WaitGroup
		errs := make([]error, n)
		update(t, s, func(*Tx) error {
			for i := range n {
				wg.Go(func() {
					errs[i] = s.Update(context.Background(), func(tx *Tx) error {
						err := insert(t.Context(), fmt.Sprint("row", i))(tx)
						if i%3 == 0 {
							err = insert(t.Context(), fmt.Sprint("row", i))(tx) // a conflict
						}
						return err
					})
				})
			}
			if w, ok := s.update.(*writer); ok { // on SQLite they all wait for this one, and share a commit
				for len(w.queue) < n {
					runtime.Gosched()
				}
			}
			return nil
		})
		wg.Wait()
		for i, err := range errs {
			failed := i%3 == 0
			if errors.Is(err, ErrConflict) != failed || has(t, s, fmt.Sprint("row", i)) == failed {
				t.Errorf("update %d: %v, its row is there: %v", i, err, has(t, s, fmt.Sprint("row", i)))
			}
		}
	})
}

func TestAPanicReturnsToItsCallerAndRollsBack(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		func() {
			defer func() {
				if got := recover(); got != "boom" {
					t.Errorf("recovered %v", got)
				}
			}()
			_ = s.Update(t.Context(), func(tx *Tx) error {
				if err := insert(t.Context(), "one")(tx); err != nil {
					return err
				}
				panic("boom")
			})
		}()
		update(t, s, insert(t.Context(), "two"))
		if has(t, s, "one") || !has(t, s, "two") {
			t.Errorf("one %v, two %v", has(t, s, "one"), has(t, s, "two"))
		}
	})
}

func TestTheEndOfAContextStopsOnlyWhatHasNotBegun(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Update(ctx, func(tx *Tx) error {
			cancel()
			return insert(ctx, "begun")(tx)
		})
		if err != nil || !has(t, s, "begun") {
			t.Errorf("an update under way: %v", err)
		}
		err = s.Update(ctx, insert(ctx, "late"))
		if !errors.Is(err, context.Canceled) || has(t, s, "late") {
			t.Errorf("an update after the end: %v", err)
		}
	})
}

func TestMissingRowsAndTakenKeysAreTold(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		for name, fn := range map[string]func(*Tx) error{
			"build":  func(tx *Tx) error { _, err := tx.LockBuild(t.Context(), "x"); return err },
			"job":    func(tx *Tx) error { return tx.UpdateJob(t.Context(), job("x")) },
			"step":   func(tx *Tx) error { return tx.UpdateStep(t.Context(), step("x", "1")) },
			"agent":  func(tx *Tx) error { return tx.UpdateAgent(t.Context(), agent("x")) },
			"number": func(tx *Tx) error { _, err := tx.NextBuildNumber(t.Context(), "x"); return err },
		} {
			if err := s.Update(t.Context(), fn); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
		for name, fn := range map[string]func(*Tx) error{
			"id":   insert(t.Context(), "o"),
			"slug": func(tx *Tx) error { return tx.InsertOrganization(t.Context(), Organization{ID: "o2", Slug: "o"}) },
		} {
			if err := s.Update(t.Context(), fn); !errors.Is(err, ErrConflict) {
				t.Errorf("%s: %v, want ErrConflict", name, err)
			}
		}
	})
}

func TestAnAgentHoldsOneJobWhateverTheCodeDoes(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		hold := func(id, agent string, state ci.JobState) func(*Tx) error {
			return func(tx *Tx) error {
				j := job(id)
				j.State, j.AgentID, j.Lease = state, agent, ci.Lease{State: ci.LeaseHeld, Agent: agent}
				return tx.UpdateJob(t.Context(), j)
			}
		}
		update(t, s, func(tx *Tx) error {
			return errors.Join(tx.InsertJob(t.Context(), job("one")), tx.InsertJob(t.Context(), job("two")))
		})
		update(t, s, hold("one", "a1", ci.JobRunning))
		for _, state := range ci.JobStates {
			err := s.Update(t.Context(), hold("two", "a1", state))
			if state.Held() != errors.Is(err, ErrConflict) {
				t.Errorf("a second job that is %s: %v", state, err)
			}
		}
		update(t, s, hold("two", "a2", ci.JobRunning))
		if got, err := s.JobOfAgent(t.Context(), "a1"); err != nil || got.ID != "one" {
			t.Errorf("the agent holds %q: %v", got.ID, err)
		}
	})
}

func TestALaneComesInTheOrderOfDispatch(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		var want []string
		update(t, s, func(tx *Tx) error {
			want = nil
			for i := range 60 {
				j := job(fmt.Sprintf("j%02d", i*37%60))
				j.Priority, j.ScheduledAt, j.Position = i%3-1, at(i%4), []string{"000001", "000001999998000001", "000002"}[i%5%3]
				if i%10 == 9 {
					j.State = ci.JobWaiting
				}
				if err := tx.InsertJob(t.Context(), j); err != nil {
					return err
				}
				if j.State == ci.JobScheduled {
					want = append(want, fmt.Sprintf("%d %d %-18s %s", 1-j.Priority, j.ScheduledAt.Unix(), j.Position, j.ID))
				}
			}
			return nil
		})
		slices.Sort(want)
		var got []string
		heads := laneHeads(t, s, 10)
		if len(heads) != 1 {
			t.Fatalf("%d lanes, want 1", len(heads))
		}
		lanes, err := s.Lanes(t.Context(), "q", []string{heads[0].Lane}, []int{1000})
		if err != nil || lanes[0][0].ID != heads[0].ID {
			t.Fatalf("the lane does not begin with its head: %v", err)
		}
		for _, j := range lanes[0] {
			got = append(got, fmt.Sprintf("%d %d %-18s %s", 1-j.Priority, j.ScheduledAt.Unix(), j.Position, j.ID))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestEveryLaneHasItsHead(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		long := strings.Repeat("x", 5000) // more than an entry of an index may have
		rules := [][]string{{}, {"os=linux"}, {"os=linux", "gpu"}, {long}, {long + "y"}}
		update(t, s, func(tx *Tx) error {
			for i := range 50 {
				j := job(fmt.Sprintf("lane%02d", i))
				j.State, j.QueueID, j.Rules, j.Priority, j.ScheduledAt = ci.JobScheduled, "q", rules[i%5], i/25, at(i)
				if err := tx.InsertJob(t.Context(), j); err != nil {
					return err
				}
			}
			return nil
		})
		var got []string
		for _, h := range laneHeads(t, s, 10) {
			got = append(got, h.ID)
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"lane25", "lane26", "lane27", "lane28", "lane29"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if some := laneHeads(t, s, 2); len(some) != 2 {
			t.Errorf("%d of at most 2 lanes", len(some))
		}
	})
}

func laneHeads(t *testing.T, s *Store, most int) []WaitingJob {
	t.Helper()
	w, err := s.Waiting(t.Context(), "q", time.Unix(0, 0), WaitingLimits{Heads: most, Idle: 1, Canceling: 1, Changed: 1})
	if err != nil || w.Idle != 1 || len(w.Changed) != 1 {
		t.Fatalf("err %v, %d agents are idle and %d changed, want one of several", err, w.Idle, len(w.Changed))
	}
	return w.Heads
}

func TestStepsComeInPipelineOrderUnderAnyCollation(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		want := []string{"000001", "000001999997000001", "000001999998000001", "000001999998000001999999000001", "000001999998000002", "000002"}
		update(t, s, func(tx *Tx) error {
			for i := len(want) - 1; i > 0; i-- {
				if err := tx.InsertStep(t.Context(), step(fmt.Sprint("s", i), want[i])); err != nil {
					return err
				}
			}
			return nil
		})
		steps, err := s.Steps(t.Context(), "b")
		var got []string
		for _, v := range steps {
			got = append(got, v.Position)
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("err %v (-want +got):\n%s", err, diff)
		}
		if !isPostgres(s) {
			return
		}
		// The collation of languages ignores more than the C collation does, in a second pass at least.
		const q = `SELECT position FROM steps WHERE build_id = 'b' ORDER BY position COLLATE "en-x-icu"`
		got, err = list(t.Context(), s.q, scanString, q)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("en-x-icu: err %v (-want +got):\n%s", err, diff)
		}
	})
}

func isPostgres(s *Store) bool {
	_, ok := s.update.(*pgUpdater)
	return ok
}

func TestHotStatementsUseAnIndex(t *testing.T) {
	t.Parallel()
	s := reopen(t, Options{Path: filepath.Join(t.TempDir(), "slipway.db")})
	for q, index := range map[string]string{
		sqlLane: "jobs_lanes", sqlLaneHeads: "jobs_lanes", sqlWarmAgents: "agents_warm", sqlOpenJobCounts: "jobs_open", sqlJobOfAgent: "jobs_held", sqlJobsOfStep: "jobs_step", sqlJobByToken: "jobs_token",
		sqlEdgesFrom: "sqlite_autoindex_edges_1", sqlEdgesFromOthers: "sqlite_autoindex_edges_1", sqlUploadedGates: "steps_gates", sqlCountRetried: "jobs_retried", sqlIdleAgents: "agents_idle", sqlTagsInQueue: "agents_queue", sqlChangedAgents: "agents_changed", sqlCountIdle: "agents_", sqlExpiredOffers: "jobs_offers",
		sqlTimedOutJobs: "jobs_timeouts", sqlStepByKey: "sqlite_autoindex_steps_2", sqlAgentByToken: "sqlite_autoindex_agents_", sqlErrands: "sqlite_autoindex_agents_", sqlAgentProcesses: "agents_process",
		sqlReadyTriggers: "jobs_triggers", sqlCountRetries: "jobs_step", sqlEarlierAgents: "jobs_step", sqlBuilds: "sqlite_autoindex_builds_2",
		sqlRunningTriggers: "jobs_triggers", sqlCanceledTriggers: "jobs_triggers", sqlTriggerOf: "jobs_triggers", sqlHeldShares: "jobs_held", sqlOldJobs: "jobs_open",
		sqlCountScheduled: "jobs_lanes", sqlCountWaiting: "jobs_lanes", sqlQuietAgents: "agents_", sqlQuietJobs: "agents_", sqlLine: "jobs_line",
		sqlCreating: "builds_creating", sqlSuperseders: "builds_superseding", sqlOlderOpenBuilds: "builds_", sqlDueEffects: "outbox_due", sqlOpenBuilds: "builds_",
		sqlRecentBuilds: "builds_recent", sqlHolders: "jobs_holders", sqlAhead: "jobs_line",
		sqlEagerLine: "jobs_line_eager", sqlEagerAhead: "jobs_line_eager", sqlWidestLimit: "jobs_line_limits", sqlUnqueued: "jobs_unqueued",
		sqlDueGroups: "concurrency_groups_due", sqlCountFound: "COVERING INDEX", sqlCountFoundOf: "COVERING INDEX", sqlOpenTallies: "builds_open",
		sqlCacheLike: "cache_prefixes_saved", sqlCacheTotals: "sqlite_autoindex_cache_usage_1", sqlCacheOldest: "cache_entries_used", sqlCacheOldestOf: "cache_entries_kind",
	} {
		args := make([]any, highest(q))
		for i := range args {
			args[i] = 1
		}
		scan := func(sc scanner) (v string, err error) { var a, b, c int; return v, sc.Scan(&a, &b, &c, &v) }
		plan, err := list(t.Context(), s.q, scan, "EXPLAIN QUERY PLAN "+q, args...)
		text := strings.Join(plan, "; ")
		if err != nil || !strings.Contains(text, index) || slices.ContainsFunc(plan, scansTable) {
			t.Errorf("%s\n  err %v, plan: %s; want it to use %s", firstWords(q), err, text, index)
		}
		if (q == sqlLane || q == sqlIdleAgents || q == sqlWarmAgents || q == sqlChangedAgents || q == sqlCacheLike || q == sqlCacheOldest || q == sqlCacheOldestOf) && strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s is sorted instead of read in order: %s", firstWords(q), text)
		}
	}
}

// TestHotWritesMakeNoTables: SQLite makes one for each list of three values or more in a constraint or an index's condition.
func TestHotWritesMakeNoTables(t *testing.T) {
	t.Parallel()
	s := reopen(t, Options{Path: filepath.Join(t.TempDir(), "slipway.db")})
	for _, q := range []string{
		sqlInsertJob, ofRows(sqlInsertPlannedJob, 8), sqlUpdateJob, sqlOfferJob, sqlHoldJob, sqlStartJob, sqlEndJob, ofRows(sqlInsertStep, 8), sqlUpdateStep, sqlCountStep, ofRows(sqlInsertEdge, 8), sqlInsertBuild, sqlUpdateBuild, sqlAdvanceBuild, sqlCountBuild,
		sqlInsertAgent, sqlUpdateAgent, sqlMoveAgent, sqlSeenAgent, sqlInsertJobLog,
	} {
		args := make([]any, highest(q))
		for i := range args {
			args[i] = 1
		}
		scan := func(sc scanner) (code string, err error) {
			var skip any
			return code, sc.Scan(&skip, &code, &skip, &skip, &skip, &skip, &skip, &skip)
		}
		err := s.Update(t.Context(), func(tx *Tx) error {
			codes, err := list(t.Context(), tx.q, scan, "EXPLAIN "+q, args...)
			if slices.Contains(codes, "OpenEphemeral") {
				t.Errorf("%s makes a table", firstWords(q))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// highest is the highest number of a parameter.
func highest(q string) (n int) {
	for _, m := range regexp.MustCompile(`\$(\d+)`).FindAllStringSubmatch(q, -1) {
		i, _ := strconv.Atoi(m[1]) // digits
		n = max(n, i)
	}
	return n
}

// scansTable says whether a step of a plan reads a whole table. To read a whole partial index is
// fine: it holds open things only.
func scansTable(step string) bool {
	inner := []string{"SCAN heads", "SCAN idle", "SCAN builds_found"} // what a query within the query gives
	return strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, " INDEX ") && !slices.Contains(inner, step)
}
