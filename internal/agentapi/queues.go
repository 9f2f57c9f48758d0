package agentapi

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// defaultQueueNames are how clients spell the default queue of a cluster: the documentation, the
// stacksapi library (v1.0.2) and the configuration of agent-stack-k8s each have their own. Who names none means it,
// as everywhere.
var defaultQueueNames = []string{"__default__", "_default", "~", "-", ""}

// queueByKey finds a queue of a cluster by its key or a spelling of the default one.
func (a *Server) queueByKey(ctx context.Context, clusterID, key string) (store.Queue, error) {
	if slices.Contains(defaultQueueNames, key) {
		cluster, err := a.Store.Cluster(ctx, clusterID)
		if err != nil {
			return store.Queue{}, err
		}
		return a.Store.QueueByID(ctx, cluster.DefaultQueueID)
	}
	q, err := a.Store.Queue(ctx, clusterID, key)
	if errors.Is(err, store.ErrNotFound) {
		return q, httperr.New(http.StatusNotFound, "No queue found with the key %q", key)
	}
	return q, err
}
