package officialagent

import (
	"net/url"
	"slices"
	"testing"

	"github.com/buildkite/stacksapi"
)

// TestStacksLibrary calls every method of the official library against a real server, as
// agent-stack-k8s does from its start to its end.
func TestStacksLibrary(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	base, err := url.Parse(s.URL + "/v3/")
	if err != nil {
		t.Fatal(err)
	}
	client, err := stacksapi.NewClient(s.AgentToken, stacksapi.WithBaseURL(base))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	k, _, err := client.RegisterStack(ctx, stacksapi.RegisterStackRequest{
		Key: "k8s", Type: stacksapi.StackTypeKubernetes, QueueKey: "_default", Metadata: map[string]string{"version": "1"},
	})
	if err != nil || k.State != stacksapi.StackStateConnected || k.LastConnectedOn == nil {
		t.Fatalf("RegisterStack: %+v, %v", k, err)
	}
	s.newBuild(t, "stacks", "steps:\n  - key: one\n    command: echo one\n  - key: two\n    command: echo two\n")
	page, header, err := client.ListScheduledJobs(ctx, stacksapi.ListScheduledJobsRequest{StackKey: "k8s", ClusterQueueKey: k.ClusterQueueKey, PageSize: 1})
	if err != nil || len(page.Jobs) != 1 || !page.PageInfo.HasNextPage || header.Get("RateLimit-Limit") == "" {
		t.Fatalf("ListScheduledJobs: %+v, %v", page, err)
	}
	rest, _, err := client.ListScheduledJobs(ctx, stacksapi.ListScheduledJobsRequest{StackKey: "k8s", ClusterQueueKey: k.ClusterQueueKey, StartCursor: page.PageInfo.EndCursor})
	if err != nil || len(rest.Jobs) != 1 || rest.PageInfo.HasNextPage {
		t.Fatalf("ListScheduledJobs: %+v, %v", rest, err)
	}
	ids := []string{page.Jobs[0].ID, rest.Jobs[0].ID}
	got, _, err := client.BatchReserveJobs(ctx, stacksapi.BatchReserveJobsRequest{StackKey: "k8s", JobUUIDs: ids, ReservationExpirySeconds: 60})
	if err != nil || !slices.Equal(got.Reserved, ids) {
		t.Fatalf("BatchReserveJobs: %+v, %v", got, err)
	}
	job, _, err := client.GetJob(ctx, stacksapi.GetJobRequest{StackKey: "k8s", JobUUID: ids[0]})
	if err != nil || job.Env["BUILDKITE_JOB_ID"] != ids[0] || job.Command == "" {
		t.Errorf("GetJob: %+v, %v", job, err)
	}
	notes, _, err := client.CreateStackNotifications(ctx, stacksapi.CreateStackNotificationsRequest{
		StackKey: "k8s", Notifications: []stacksapi.StackNotification{{JobUUID: ids[0], Detail: "pod is pending"}, {JobUUID: "nope", Detail: "x"}},
	})
	if err != nil || len(notes.Errors) != 1 || !slices.Equal(notes.Errors[0].Indexes, []int{1}) {
		t.Errorf("CreateStackNotifications: %+v, %v", notes, err)
	}
	if _, err := client.FinishJob(ctx, stacksapi.FinishJobRequest{StackKey: "k8s", JobUUID: ids[0], ExitStatus: -1, Detail: "no image"}); err != nil {
		t.Errorf("FinishJob: %v", err)
	}
	a := s.register(t, "pod")
	acquired, _, err := a.AcquireJob(ctx, ids[1])
	if err != nil {
		t.Fatalf("acquiring the other: %v", err)
	}
	states, _, err := client.GetJobStates(ctx, stacksapi.GetJobStatesRequest{StackKey: "k8s", JobUUIDs: ids})
	if err != nil || states.States[ids[0]] != "finished" || states.States[acquired.ID] != "accepted" {
		t.Errorf("GetJobStates: %+v, %v", states, err)
	}
	if _, err := client.DeregisterStack(ctx, "k8s"); err != nil {
		t.Errorf("DeregisterStack: %v", err)
	}
	if _, _, err := client.ListScheduledJobs(ctx, stacksapi.ListScheduledJobsRequest{StackKey: "k8s", ClusterQueueKey: "_default"}); err == nil {
		t.Error("a stack that has left lists jobs")
	}
}
