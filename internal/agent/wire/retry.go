package wire

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

// Call names an endpoint for its retry policy.
type Call int

// The calls, each with the policy of buildkite-agent v3.138.1 (core/client.go,
// agent/agent_worker.go, agent/pipeline_uploader.go, internal/artifact and
// clicommand of its source).
const (
	CallRegister Call = iota
	CallConnect
	CallDisconnect
	CallHeartbeat
	CallAccept
	CallAcquire
	CallStart
	CallChunk
	CallFinish
	CallUploadPipeline
	CallPipelineStatus
	CallCreateArtifacts
	CallUpdateArtifacts
	CallSearchArtifacts
	CallUploadArtifact
	CallDownloadArtifact
	CallMetaDataSet
	CallMetaDataSetBatch
	CallMetaDataRead
	CallAnnotate
	CallStep
	CallCancelBuild
	CallUpdateJob
	CallPromiseFailure
	CallSecret
	CallOIDCToken
	CallRepositoryToken
	CallAgentControl // stop, pause, resume
	CallCache        // all but the bytes, which go as those of artifacts do
)

// Policy says how often a call is tried and how long to wait in between.
type Policy struct {
	// Tries is the number of attempts in all.
	Tries int
	// Wait is the pause after the first attempt.
	Wait time.Duration
	// Growth multiplies the pause after each attempt; 1 keeps it constant.
	Growth float64
	// Jitter is added to each pause, uniformly from [0, Jitter).
	Jitter time.Duration
	// Total ends all attempts together; 0 means no limit.
	Total time.Duration
	// TryTimeout ends each of the first four attempts; 0 means no limit.
	TryTimeout time.Duration
	// RetryAfter makes the server's Retry-After replace the pause.
	RetryAfter bool
	// Again reports whether the call is repeated after this error.
	Again func(error) bool
}

// subsecond2s and subsecond500ms are the growth of the agent's "exponential
// subsecond" strategy, the initial milliseconds to the power of 1/16, so that
// 12 attempts from 2 s take about ten minutes
// (github.com/buildkite/roko v1.4, retrier.go).
const (
	subsecond2s    = 1.6081
	subsecond500ms = 1.4746
)

var policies = map[Call]Policy{
	CallRegister:         {Tries: 30, Wait: 10 * time.Second, Growth: 1, Again: Retryable},
	CallConnect:          {Tries: 10, Wait: 5 * time.Second, Growth: 1, Again: always},
	CallDisconnect:       {Tries: 4, Wait: time.Second, Growth: 1, Again: always},
	CallHeartbeat:        {Tries: 10, Wait: 5 * time.Second, Growth: 1, Again: Retryable},
	CallAccept:           {Tries: 30, Wait: 5 * time.Second, Growth: 1, Again: unanswered},
	CallAcquire:          {Tries: 7, Wait: time.Second, Growth: 2, Jitter: 5 * time.Second, Total: 330 * time.Second, RetryAfter: true, Again: transientOr(http.StatusLocked)},
	CallStart:            {Tries: 7, Wait: time.Second, Growth: 2, Again: Retryable},
	CallChunk:            {Tries: 12, Wait: 2 * time.Second, Growth: subsecond2s, Jitter: time.Second, Again: transientBut(http.StatusTooManyRequests)},
	CallFinish:           {Tries: 12, Wait: 2 * time.Second, Growth: subsecond2s, Jitter: time.Second, Total: time.Hour, Again: Retryable},
	CallUploadPipeline:   {Tries: 60, Wait: 5 * time.Second, Growth: 1, Again: Retryable},
	CallPipelineStatus:   {Tries: 60, Wait: 5 * time.Second, Growth: 1, RetryAfter: true, Again: allBut(http.StatusUnprocessableEntity)},
	CallCreateArtifacts:  {Tries: 10, Wait: 500 * time.Millisecond, Growth: subsecond500ms, TryTimeout: 10 * time.Second, Again: Retryable},
	CallUpdateArtifacts:  {Tries: 10, Wait: 500 * time.Millisecond, Growth: subsecond500ms, TryTimeout: 5 * time.Second, Again: always},
	CallSearchArtifacts:  {Tries: 10, Wait: 5 * time.Second, Growth: 1, Again: always},
	CallUploadArtifact:   {Tries: 10, Wait: 5 * time.Second, Growth: 1, Again: always},
	CallDownloadArtifact: {Tries: 5, Wait: 5 * time.Second, Growth: 1, Again: always},
	CallMetaDataSet:      {Tries: 10, Wait: 2 * time.Second, Growth: subsecond2s, Again: Retryable},
	CallMetaDataSetBatch: {Tries: 10, Wait: 2 * time.Second, Growth: subsecond2s, Again: allBut(http.StatusUnauthorized, http.StatusNotFound)},
	CallMetaDataRead:     {Tries: 10, Wait: 5 * time.Second, Growth: 1, Again: Retryable},
	CallAnnotate:         {Tries: 5, Wait: time.Second, Growth: 1, Jitter: time.Second, Again: Retryable},
	CallStep:             {Tries: 10, Wait: 5 * time.Second, Growth: 1, Again: Retryable},
	CallCancelBuild:      {Tries: 5, Wait: time.Second, Growth: 1, Jitter: time.Second, Again: Retryable},
	CallUpdateJob:        {Tries: 10, Wait: 2 * time.Second, Growth: subsecond2s, Again: Retryable},
	CallPromiseFailure:   {Tries: 10, Wait: 2 * time.Second, Growth: subsecond2s, Again: Retryable},
	CallSecret:           {Tries: 3, Wait: time.Second, Growth: 2, Jitter: 5 * time.Second, Again: Retryable},
	CallOIDCToken:        {Tries: 5, Wait: time.Second, Growth: 2, Again: Retryable},
	CallRepositoryToken:  {Tries: 3, Wait: 5 * time.Second, Growth: 1, RetryAfter: true, Again: Retryable},
	CallCache:            {Tries: 5, Wait: 500 * time.Millisecond, Growth: subsecond500ms, Jitter: time.Second, Again: Retryable},
	CallAgentControl:     {Tries: 5, Wait: time.Second, Growth: 1, Jitter: time.Second, Again: Retryable},
}

// Policy returns the retry policy of the call.
func (c Call) Policy() Policy { return policies[c] }

func always(error) bool { return true }

// unanswered repeats only where no status, or no readable one, came back: a
// refused accept is cheaper to repeat with a fresh ping.
func unanswered(err error) bool {
	e, answered := errors.AsType[*Error](err)
	return Retryable(err) && (!answered || e.Decoding != nil)
}

func transientOr(status int) func(error) bool {
	return func(err error) bool { return Retryable(err) || Status(err) == status }
}

func transientBut(status int) func(error) bool {
	return func(err error) bool { return Retryable(err) && Status(err) != status }
}

func allBut(statuses ...int) func(error) bool {
	return func(err error) bool {
		for _, s := range statuses {
			if Status(err) == s {
				return false
			}
		}
		return true
	}
}

// Failure is one attempt that will be repeated.
type Failure struct {
	Attempt int // from 1
	Tries   int
	Err     error
	Wait    time.Duration // until the next attempt
}

// Retry makes a call until it succeeds, its policy gives up or ctx ends. try
// gets the number of attempts made before (0 at first), and a context that
// carries the policy's timeouts. notify, unless nil, is told of each failure
// that will be repeated. The last error is returned unchanged; if ctx ends
// while waiting, its cause is joined to it.
func Retry(ctx context.Context, call Call, notify func(Failure), try func(ctx context.Context, n int) error) error {
	p := call.Policy()
	if p.Total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Total)
		defer cancel()
	}
	for n := 0; ; n++ {
		err := p.attempt(ctx, n, try)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || n+1 >= p.Tries || !p.Again(err) {
			return err
		}
		wait := p.pause(n, err)
		if notify != nil {
			notify(Failure{Attempt: n + 1, Tries: p.Tries, Err: err, Wait: wait})
		}
		if !Sleep(ctx, wait) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// attempt runs try once, with a short timeout for the first few, so that one
// lost packet does not cost a minute.
func (p Policy) attempt(ctx context.Context, n int, try func(context.Context, int) error) error {
	if p.TryTimeout > 0 && n < 4 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.TryTimeout)
		defer cancel()
	}
	return try(ctx, n)
}

// pause is how long to wait after attempt n (from 0) failed with err.
func (p Policy) pause(n int, err error) time.Duration {
	if asked := askedWait(err); p.RetryAfter && asked > 0 {
		return asked
	}
	wait := time.Duration(float64(p.Wait) * math.Pow(p.Growth, float64(n)))
	if p.Jitter > 0 {
		wait += rand.N(p.Jitter)
	}
	return wait
}

// askedWait is the Retry-After that came with err.
func askedWait(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	if e, ok := errors.AsType[*NotYet](err); ok {
		return e.RetryAfter
	}
	return 0
}

// Sleep waits for d, and reports false if ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
