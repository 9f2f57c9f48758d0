package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	maxMetaDataValue = 100 << 10 // bytes (https://buildkite.com/docs/pipelines/configure/build-meta-data)
	maxMetaData      = 4 << 20   // bytes of a build's keys and values: each list of builds carries them
	maxAnnotation    = 1 << 20   // bytes (https://buildkite.com/docs/agent/cli/reference/annotate)
	maxContext       = 100       // characters
)

// SetMetaData sets keys of a build, all or none. Values are never blank. What an agent says under CommitKey is the build's commit from
// then on, if that was a name.
func (e *Engine) SetMetaData(ctx context.Context, buildID string, values map[string]string) error {
	for key, value := range values {
		switch {
		case strings.TrimSpace(key) == "":
			return refuse(Invalid, "The meta-data key can't be blank.")
		case len(key) > maxLookedUp:
			return refuse(Invalid, "The meta-data key %q… has %d bytes; the limit is %d.", key[:20], len(key), maxLookedUp)
		case strings.TrimSpace(value) == "":
			return refuse(Invalid, "The value of the meta-data key %q can't be blank.", key)
		case len(value) > maxMetaDataValue:
			return refuse(Invalid, "The value of the meta-data key %q has %d bytes; the limit is %d.", key, len(value), maxMetaDataValue)
		}
	}
	if commit := ToldCommit(values[CommitKey]); commit != "" {
		return e.onBuild(ctx, buildID, func(p *progress) error {
			return errors.Join(setMetaData(ctx, p.tx, buildID, values), p.foundCommit(commit))
		})
	}
	return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		hint(live.Build(buildID))
		return setMetaData(ctx, tx, buildID, values)
	})
}

var toldCommit = regexp.MustCompile(`^commit ([0-9a-f]{40}|[0-9a-f]{64})(?:\n|$)`)

// ToldCommit is the full hash in what an agent says under CommitKey; "": there is none.
func ToldCommit(text string) string {
	m := toldCommit.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

// foundCommit gives a build of a name, such as HEAD, the commit that its first job's agent found it to mean, so that all later jobs
// are of that commit although the branch moves (pull request 2676 of buildkite/agent says so of the service).
func (p *progress) foundCommit(commit string) error {
	if isFullHash(p.build.Commit) {
		return nil
	}
	return resolveCommit(&p.build, commit)
}

// checkMetaData refuses, before anything is written, what a build that is made can't have.
func checkMetaData(values map[string]string) error {
	n := 0
	for key, value := range values {
		if len(key) > maxLookedUp {
			return invalidField("meta_data", fmt.Sprintf("has a key of %d bytes; the limit is %d", len(key), maxLookedUp))
		}
		if key != PayloadKey {
			n += len(key) + len(value)
		}
	}
	if n > maxMetaData {
		return invalidField("meta_data", fmt.Sprintf("has %d bytes; the limit is %d, keys included", n, maxMetaData))
	}
	return nil
}

// setMetaData refuses what would be more than a build may have in all. The payload that a webhook came with is
// the server's own, and not counted.
func setMetaData(ctx context.Context, tx *store.Tx, buildID string, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}
	if _, err := tx.AddMetaDataBytes(ctx, buildID, 0); err != nil { // what the values replace stays as it is read
		return err
	}
	more := int64(0)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key != PayloadKey {
			was, err := tx.MetaDataSize(ctx, buildID, key)
			if err != nil {
				return err
			}
			more += int64(len(key)+len(values[key])) - was
		}
		if err := tx.SetMetaData(ctx, buildID, key, values[key]); err != nil {
			return err
		}
	}
	n, err := tx.AddMetaDataBytes(ctx, buildID, more)
	if err == nil && more > 0 && n > maxMetaData {
		return refuse(Invalid, "The build's meta-data would have %d bytes; the limit is %d, keys included. Keep large data in artifacts.", n, maxMetaData)
	}
	return err
}

// Annotate writes an annotation of a build or of one of its jobs.
type Annotate struct {
	BuildID  string
	JobID    string // "": of the build
	Context  string // "": default
	Style    string // "": as it is; default: none
	Body     string
	Append   bool
	Priority int // 1 to 10; 0: 3
}

// Styles are the looks of an annotation.
var Styles = []string{"success", "info", "warning", "error"}

// plainStyle names the look of an annotation without a style
// (https://buildkite.com/docs/apis/graphql/schemas/enum/annotationstyle).
const plainStyle = "default"

// Annotate makes or changes the annotation of a scope and context. Without a body it changes the
// style alone.
func (e *Engine) Annotate(ctx context.Context, op Annotate) (store.Annotation, error) {
	op.Context = firstNonEmpty(op.Context, "default")
	if op.Priority == 0 {
		op.Priority = 3
	}
	if err := checkAnnotation(op); err != nil {
		return store.Annotation{}, err
	}
	var out store.Annotation
	err := e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		if _, err := tx.LockBuild(ctx, op.BuildID); err != nil {
			return missing(err, "No build found")
		}
		a, err := tx.Annotation(ctx, op.BuildID, op.JobID, op.Context)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		found := err == nil
		if out, err = e.annotated(a, op); err != nil {
			return err
		}
		hint(live.Build(op.BuildID))
		if found {
			err = tx.UpdateAnnotation(ctx, out)
		} else {
			err = tx.InsertAnnotation(ctx, out)
		}
		return errors.Join(err, tx.TouchBuild(ctx, op.BuildID))
	})
	return out, err
}

func checkAnnotation(op Annotate) error {
	switch {
	case utf8.RuneCountInString(op.Context) > maxContext:
		return refuse(Invalid, "The annotation's context is longer than %d characters.", maxContext)
	case op.Style != "" && op.Style != plainStyle && !slices.Contains(Styles, op.Style):
		return refuse(Invalid, "The annotation's style %q is not one of %s, %s.", op.Style, plainStyle, strings.Join(Styles, ", "))
	case op.Priority < 1 || op.Priority > 10:
		return refuse(Invalid, "The annotation's priority must be between 1 and 10.")
	}
	return nil
}

func (e *Engine) annotated(a store.Annotation, op Annotate) (store.Annotation, error) {
	if a.ID == "" {
		a = store.Annotation{ID: e.NewID(), BuildID: op.BuildID, JobID: op.JobID, Context: op.Context, CreatedAt: e.Now()}
	}
	if op.Append {
		a.Body += op.Body
	} else if op.Body != "" {
		a.Body = op.Body
	}
	if len(a.Body) > maxAnnotation {
		return a, refuse(Invalid, "The annotation would have %d bytes; the limit is %d.", len(a.Body), maxAnnotation)
	}
	if a.Style = firstNonEmpty(op.Style, a.Style); a.Style == plainStyle {
		a.Style = ""
	}
	a.Priority, a.UpdatedAt = op.Priority, e.Now()
	return a, nil
}

// RemoveAnnotation removes the annotation of a scope and context.
func (e *Engine) RemoveAnnotation(ctx context.Context, buildID, jobID, name string) error {
	return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		hint(live.Build(buildID))
		if err := tx.TouchBuild(ctx, buildID); err != nil { // the build is locked first, as where one is written
			return err
		}
		return tx.DeleteAnnotation(ctx, buildID, jobID, name)
	})
}
