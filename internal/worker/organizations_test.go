package worker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// neighbours adds organizations that come before the world's own. The settings of the first cannot be read.
func (w *world) neighbours(n int) {
	w.t.Helper()
	w.must(w.Store.Update(w.ctx(), func(tx *store.Tx) (err error) {
		for i := range n {
			settings := json.RawMessage(`{}`)
			if i == 0 {
				settings = json.RawMessage(`[]`)
			}
			err = errors.Join(err, tx.InsertOrganization(w.ctx(), store.Organization{
				ID: w.NewID(), Slug: fmt.Sprintf("a%04d", i), Name: "A", Settings: settings, CreatedAt: w.Now(),
			}))
		}
		return err
	}))
}

func TestJobsExpireInEveryOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.neighbours(250)
	b := w.build("p", "steps:\n- {command: x}\n")
	w.clock.Add((400 * 24 * time.Hour).Microseconds())
	if _, err := worker.ExpireJobs(w.Engine)(w.ctx()); err == nil {
		t.Error("settings that cannot be read are not told of")
	}
	jobs, err := w.Store.Jobs(w.ctx(), b.ID)
	w.must(err)
	if jobs[0].State != ci.JobExpired {
		t.Errorf("the job of the organization behind 250 others is %s", jobs[0].State)
	}
}
