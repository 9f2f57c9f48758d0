package store

import "context"

// Surroundings are what lies around a job and changes without it.
type Surroundings struct {
	Pipeline     Pipeline
	Organization Organization
	Cluster      Cluster // the pipeline's
	Queue        Queue
	Teams        []string // slugs of those that have access to the pipeline
	Said         bool     // the build has meta-data under the key asked for
}

const sqlClusterOfPipeline = `SELECT id, organization_id, name, default_queue_id, created_at FROM clusters
	WHERE id = (SELECT cluster_id FROM pipelines WHERE pipelines.id = $1)`

// Surroundings returns those of a build's job in a queue.
func (r Reader) Surroundings(ctx context.Context, b Build, queueID, key string) (s Surroundings, err error) {
	var said []string
	err = r.q.together(ctx, []question{
		ask(&s.Pipeline, scanPipeline, sqlPipelineByID, b.PipelineID),
		ask(&s.Organization, scanOrganization, sqlOrganizationByID, b.OrganizationID),
		ask(&s.Cluster, scanCluster, sqlClusterOfPipeline, b.PipelineID),
		ask(&s.Queue, scanQueue, sqlQueueByID, queueID),
		askAll(&s.Teams, scanString, sqlTeamsWith, b.PipelineID),
		askAll(&said, scanString, sqlMetaData, b.ID, key),
	})
	s.Said = len(said) > 0
	return s, err
}
