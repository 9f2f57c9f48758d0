package engine_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// bounded is a kind of thing of which there may be so many.
type bounded struct {
	what  string
	most  int
	fill  func(tx *store.Tx, i int) error
	add   func(name string) error
	count func() int
}

// TestLimitsHoldForThoseWhoComeAtOnce: where one place is left, one of several gets it.
func TestLimitsHoldForThoseWhoComeAtOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, l := range w.limits(t) {
			err := w.Store.Update(t.Context(), func(tx *store.Tx) error {
				for i := range l.most - 1 - l.count() {
					if err := l.fill(tx, i); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatalf("%s: %v", l.what, err)
			}
			var got atomic.Int64
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					err := l.add(fmt.Sprintf("new%d", i))
					if _, no := errors.AsType[*engine.Refused](err); err != nil && !no {
						t.Errorf("%s: %v", l.what, err)
					}
					if err == nil {
						got.Add(1)
					}
				})
			}
			all.Wait()
			if n := l.count(); got.Load() != 1 || n != l.most {
				t.Errorf("%d of 8 got the last place, and there are %d %s; the limit is %d", got.Load(), n, l.what, l.most)
			}
		}
	})
}

func (w *world) limits(t *testing.T) []bounded {
	t.Helper()
	ctx := t.Context()
	user := must(w.Store.FirstUser(ctx))(t)
	queue := must(w.CreateQueue(ctx, engine.CreateQueue{ClusterID: w.cluster.ID, Key: "stacks"}))(t)
	tokenOf := func(i int) store.APIToken {
		return store.APIToken{ID: w.NewID(), OrganizationID: w.org.ID, UserID: user.ID, TokenHash: fmt.Sprint(i), Description: "d", Scopes: []string{"read_builds"}, CreatedAt: w.Now()}
	}
	return []bounded{
		{
			"API tokens", 500, func(tx *store.Tx, i int) error { return tx.InsertAPIToken(ctx, tokenOf(i)) },
			func(name string) error {
				_, _, err := w.CreateAPIToken(ctx, engine.CreateAPIToken{OrganizationID: w.org.ID, UserID: user.ID, Description: name, Scopes: []string{"read_builds"}})
				return err
			},
			func() int { return len(must(w.Store.APITokensOf(ctx, w.org.ID, user.ID, 1000))(t)) },
		},
		{
			"secrets", 1000, func(tx *store.Tx, i int) error {
				return tx.InsertSecret(ctx, store.Secret{ID: w.NewID(), ClusterID: w.cluster.ID, Key: fmt.Sprint("K", i), CreatedBy: user.ID, CreatedAt: w.Now(), UpdatedAt: w.Now()})
			},
			func(name string) error {
				_, err := w.CreateSecret(ctx, engine.CreateSecret{ClusterID: w.cluster.ID, Key: name, Value: "v", By: user.ID})
				return err
			},
			func() int { return must(w.Store.CountSecrets(ctx, w.cluster.ID))(t) },
		},
		{
			"services", 100, func(tx *store.Tx, _ int) error {
				return tx.PutService(ctx, store.Service{ID: w.NewID(), OrganizationID: w.org.ID, Provider: "webhook", CreatedBy: user.ID, CreatedAt: w.Now()})
			},
			func(name string) error {
				_, err := w.SaveService(ctx, engine.SaveService{
					Service: store.Service{OrganizationID: w.org.ID, Provider: "webhook", Description: name, CreatedBy: user.ID, Spec: store.ServiceSpec{Scope: "all"}},
					Secret:  engine.ServiceSecret{URL: "https://example.test/"},
				})
				return err
			},
			func() int { return must(w.Store.CountServices(ctx, w.org.ID))(t) },
		},
		{
			"teams", 1000, func(tx *store.Tx, i int) error {
				return tx.PutTeam(ctx, store.Team{ID: w.NewID(), OrganizationID: w.org.ID, Slug: fmt.Sprint("t", i), Name: fmt.Sprint("t", i), Settings: []byte("{}"), CreatedBy: user.ID, CreatedAt: w.Now()})
			},
			func(name string) error {
				_, err := w.SaveTeam(ctx, store.Team{OrganizationID: w.org.ID, Name: name, Settings: []byte("{}"), CreatedBy: user.ID})
				return err
			},
			func() int { return len(must(w.Store.Teams(ctx, w.org.ID))(t)) },
		},
		{
			"stacks", 30, func(tx *store.Tx, i int) error {
				return tx.PutStack(ctx, store.Stack{ID: w.NewID(), ClusterID: w.cluster.ID, Key: fmt.Sprint("k", i), Type: "custom", QueueID: queue.ID, CreatedAt: w.Now(), SeenAt: w.Now()})
			},
			func(name string) error {
				_, _, err := w.RegisterStack(ctx, w.org.ID, store.Stack{ClusterID: w.cluster.ID, Key: name, Type: "custom", QueueID: queue.ID})
				return err
			},
			func() int { return must(w.Store.CountStacks(ctx, w.org.ID, w.Now().Add(-engine.StackTerm)))(t) },
		},
	}
}

// TestATeamGoesWithAllThatIsAddedMeanwhile: who comes too late is told that there is no such team.
func TestATeamGoesWithAllThatIsAddedMeanwhile(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		user := must(w.Store.FirstUser(ctx))(t)
		pl := w.build(t, "steps: [{command: a}]").PipelineID
		for n := range 20 {
			team := must(w.SaveTeam(ctx, store.Team{OrganizationID: w.org.ID, Name: fmt.Sprint("team ", n), Settings: []byte("{}"), CreatedBy: user.ID}))(t)
			var all sync.WaitGroup
			for _, op := range []func() error{
				func() error {
					return w.SaveTeamMember(ctx, team, store.TeamMember{UserID: user.ID, Role: "member"})
				},
				func() error {
					return w.SaveTeamPipeline(ctx, team, store.TeamPipeline{PipelineID: pl, Access: engine.AccessRead})
				},
				func() error { _, err := w.SaveTeam(ctx, team); return err },
				func() error { return w.DeleteTeam(ctx, team.ID) },
			} {
				all.Go(func() {
					if err := op(); err != nil {
						if _, no := errors.AsType[*engine.Refused](err); !no {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if _, err := w.Store.Team(ctx, w.org.ID, team.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("round %d: the team is there after its deletion: %v", n, err)
			}
		}
	})
}
