package restapi

import (
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// scene holds what builds and jobs refer to, loaded at once: the number of statements does not
// depend on how many they are.
type scene struct {
	at        addresses
	now       time.Time // where there are jobs
	pipelines map[string]store.Pipeline
	steps     map[string]store.Step
	agents    map[string]store.Agent
	queues    map[string]store.Queue
	users     map[string]store.User
	children  map[string]store.BuildRef    // builds that trigger jobs made
	metaData  map[string]map[string]string // where builds are shown, not their jobs alone
	builds    map[string]store.Build
	rosters   map[string]*engine.Roster // by cluster, of builds that ask who serves them
}

// newScene loads what the builds and the jobs, which are of these builds, refer to.
func (q *request) newScene(builds []store.Build, jobs []store.Job) (s scene, err error) {
	s = scene{at: q.addresses(), builds: map[string]store.Build{}}
	var buildIDs, pipelineIDs, userIDs []string
	for _, b := range builds {
		s.builds[b.ID] = b
		buildIDs, pipelineIDs, userIDs = append(buildIDs, b.ID), append(pipelineIDs, b.PipelineID), append(userIDs, b.CreatorID)
	}
	if s.pipelines, err = q.Store.PipelinesByID(q.ctx, pipelineIDs); err != nil {
		return s, err
	}
	if err = q.addRosters(&s, builds); err != nil {
		return s, err
	}
	if s.users, err = q.Store.UsersByID(q.ctx, userIDs); err != nil {
		return s, err
	}
	if len(jobs) == 0 {
		return s, nil
	}
	if s.steps, err = q.Store.StepsOfBuilds(q.ctx, buildIDs); err != nil {
		return s, err
	}
	return s, q.addJobs(&s, jobs)
}

// addRosters loads who serves the clusters of builds that have steps for which no agent was there.
func (q *request) addRosters(s *scene, builds []store.Build) (err error) {
	for _, b := range builds {
		id := s.pipelines[b.PipelineID].ClusterID
		if len(b.Detail.Unserved) == 0 || b.State.Finished() || s.rosters[id] != nil {
			continue
		}
		if s.rosters == nil {
			s.rosters = map[string]*engine.Roster{}
		}
		if s.rosters[id], err = q.Engine.Roster(q.ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// addJobs loads what jobs refer to beside their steps.
func (q *request) addJobs(s *scene, jobs []store.Job) (err error) {
	s.now = q.Now()
	var agentIDs, queueIDs, childIDs []string
	for _, j := range jobs {
		agentIDs, queueIDs, childIDs = append(agentIDs, j.AgentID), append(queueIDs, j.QueueID), append(childIDs, j.TriggeredBuild)
	}
	if s.agents, err = q.Store.AgentsByID(q.ctx, agentIDs); err != nil {
		return err
	}
	for _, a := range s.agents {
		queueIDs = append(queueIDs, a.QueueID)
	}
	if s.queues, err = q.Store.QueuesByID(q.ctx, queueIDs); err != nil {
		return err
	}
	s.children, err = q.Store.BuildRefs(q.ctx, childIDs)
	return err
}
