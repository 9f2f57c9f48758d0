package wire_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

var (
	errNetwork = &url.Error{Op: "Put", URL: "http://x", Err: syscall.ECONNREFUSED}
	errProxy   = &wire.Error{Status: http.StatusOK, Decoding: errors.New("html")}
)

func status(code int) error { return &wire.Error{Status: code} }

// TestEachCallIsRepeatedAsTheOfficialAgentDoes states for each call how often
// it is tried against a server that always fails in one way. The numbers are
// those of buildkite-agent v3.138.1.
func TestEachCallIsRepeatedAsTheOfficialAgentDoes(t *testing.T) {
	t.Parallel()
	type tries struct{ network, proxy, s500, s429, s401, s404, s422, s423 int }
	transient := func(n int) tries { return tries{n, n, n, n, 1, 1, 1, 1} }
	all := func(n int) tries { return tries{n, n, n, n, n, n, n, n} }
	tests := map[string]struct {
		call wire.Call
		want tries
	}{
		"register":         {wire.CallRegister, transient(30)},
		"connect":          {wire.CallConnect, all(10)},
		"disconnect":       {wire.CallDisconnect, all(4)},
		"heartbeat":        {wire.CallHeartbeat, transient(10)},
		"accept":           {wire.CallAccept, tries{30, 30, 1, 1, 1, 1, 1, 1}},
		"acquire":          {wire.CallAcquire, tries{7, 7, 7, 7, 1, 1, 1, 7}},
		"start":            {wire.CallStart, transient(7)},
		"chunk":            {wire.CallChunk, tries{12, 12, 12, 1, 1, 1, 1, 1}},
		"finish":           {wire.CallFinish, transient(12)},
		"pipeline upload":  {wire.CallUploadPipeline, transient(60)},
		"pipeline status":  {wire.CallPipelineStatus, tries{60, 60, 60, 60, 60, 60, 1, 60}},
		"create artifacts": {wire.CallCreateArtifacts, transient(10)},
		"update artifacts": {wire.CallUpdateArtifacts, all(10)},
		"search artifacts": {wire.CallSearchArtifacts, all(10)},
		"upload":           {wire.CallUploadArtifact, all(10)},
		"download":         {wire.CallDownloadArtifact, all(5)},
		"meta-data set":    {wire.CallMetaDataSet, transient(10)},
		"meta-data batch":  {wire.CallMetaDataSetBatch, tries{10, 10, 10, 10, 1, 1, 10, 10}},
		"meta-data read":   {wire.CallMetaDataRead, transient(10)},
		"annotate":         {wire.CallAnnotate, transient(5)},
		"step":             {wire.CallStep, transient(10)},
		"cancel build":     {wire.CallCancelBuild, transient(5)},
		"update job":       {wire.CallUpdateJob, transient(10)},
		"promise failure":  {wire.CallPromiseFailure, transient(10)},
		"secret":           {wire.CallSecret, transient(3)},
		"oidc":             {wire.CallOIDCToken, transient(5)},
		"agent control":    {wire.CallAgentControl, transient(5)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, c := range map[string]struct {
				err  error
				want int
			}{
				"network": {errNetwork, tt.want.network}, "proxy": {errProxy, tt.want.proxy},
				"500": {status(500), tt.want.s500}, "429": {status(429), tt.want.s429},
				"401": {status(401), tt.want.s401}, "404": {status(404), tt.want.s404},
				"422": {status(422), tt.want.s422}, "423": {status(423), tt.want.s423},
			} {
				if got := countTries(t, tt.call, c.err); got != c.want {
					t.Errorf("%s: %d tries, want %d", what, got, c.want)
				}
			}
		})
	}
}

func countTries(t *testing.T, call wire.Call, failure error) int {
	n := 0
	synctest.Test(t, func(t *testing.T) {
		err := wire.Retry(t.Context(), call, nil, func(_ context.Context, attempt int) error {
			if attempt != n {
				t.Errorf("attempt %d was called number %d", n, attempt)
			}
			n++
			return failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("error = %v, want the last failure", err)
		}
	})
	return n
}

func TestRetriesWaitAsLongAsTheOfficialAgent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		call     wire.Call
		min, max time.Duration
	}{
		"register, constant 10 s":           {wire.CallRegister, 290 * time.Second, 290 * time.Second},
		"connect, constant 5 s":             {wire.CallConnect, 45 * time.Second, 45 * time.Second},
		"start, 1+2+4+8+16+32 s":            {wire.CallStart, 63 * time.Second, 63 * time.Second},
		"finish, about ten minutes":         {wire.CallFinish, 9 * time.Minute, 11 * time.Minute},
		"chunk, about ten minutes":          {wire.CallChunk, 9 * time.Minute, 11 * time.Minute},
		"annotate, 1 s and up to 1 s more":  {wire.CallAnnotate, 4 * time.Second, 8 * time.Second},
		"acquire, never above 330 s in all": {wire.CallAcquire, 63 * time.Second, 330 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				if wire.Retry(t.Context(), tt.call, nil, func(context.Context, int) error { return errNetwork }) == nil {
					t.Error("no error")
				}
				if took := time.Since(start); took < tt.min || took > tt.max {
					t.Errorf("took %s, want %s to %s", took, tt.min, tt.max)
				}
			})
		})
	}
}

func TestRetryAfterReplacesThePauseWhereItIsHonoured(t *testing.T) {
	t.Parallel()
	busy := &wire.Error{Status: 503, RetryAfter: 40 * time.Second}
	for call, want := range map[wire.Call]time.Duration{
		wire.CallAcquire: 40 * time.Second, wire.CallPipelineStatus: 40 * time.Second, wire.CallMetaDataRead: 5 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			err := wire.Retry(t.Context(), call, nil, func(_ context.Context, n int) error {
				if n == 0 {
					return busy
				}
				return nil
			})
			if err != nil || time.Since(start) != want {
				t.Errorf("call %d: waited %s, %v, want %s", call, time.Since(start), err, want)
			}
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 12*time.Second, errors.New("the job was canceled"))
		defer cancel()
		var told []wire.Failure
		start := time.Now()
		err := wire.Retry(ctx, wire.CallConnect, func(f wire.Failure) { told = append(told, f) },
			func(context.Context, int) error { return errNetwork })
		if time.Since(start) != 12*time.Second || len(told) != 3 || told[2].Attempt != 3 || told[2].Tries != 10 {
			t.Errorf("ended after %s, told %+v", time.Since(start), told)
		}
		if err == nil || !errors.Is(err, errNetwork) || !strings.Contains(err.Error(), "the job was canceled") {
			t.Errorf("error = %v, want the last failure and why it ended", err)
		}
	})
}

func TestFirstAttemptsOfArtifactCallsAreShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hung := 0
		err := wire.Retry(t.Context(), wire.CallCreateArtifacts, nil, func(ctx context.Context, n int) error {
			if n == 4 {
				if _, bounded := ctx.Deadline(); bounded {
					t.Error("the fifth attempt is bounded")
				}
				return nil
			}
			start := time.Now()
			<-ctx.Done()
			if time.Since(start) != 10*time.Second {
				t.Errorf("attempt %d was given %s", n, time.Since(start))
			}
			hung++
			return &url.Error{Op: "Post", Err: ctx.Err()}
		})
		if err != nil || hung != 4 {
			t.Errorf("error %v after %d hung attempts, want success after 4", err, hung)
		}
	})
}
