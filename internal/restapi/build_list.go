package restapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/slipway-ci/slipway/internal/store"
)

// A list of builds carries all meta-data and jobs of each, as clients of the API expect: a page of a hundred builds may be hundreds of
// megabytes. It is read, rendered and sent in portions, so that the memory it takes does not grow with it.
const (
	portionBytes = 8 << 20 // of meta-data and jobs in a portion; one build may have more
	jobBytes     = 2 << 10 // what a job counts for
)

// replyBuilds answers with a page of builds. Where it fails behind the first portion the answer is aborted.
func (q *request) replyBuilds(builds []store.Build, v buildView) error {
	portions, err := q.portions(builds, v)
	if err != nil {
		return err
	}
	before := "["
	for _, some := range portions {
		out, err := q.toBuilds(some, v)
		if err != nil {
			return err
		}
		for _, b := range out {
			body, err := json.Marshal(b)
			if err != nil {
				return fmt.Errorf("encoding build %s: %w", b.ID, err)
			}
			q.w.Header().Set("Content-Type", "application/json; charset=utf-8")
			if _, err := q.w.Write(append([]byte(before), body...)); err != nil {
				return err
			}
			before = ","
		}
	}
	if before == "[" {
		return q.reply(http.StatusOK, []buildJSON{})
	}
	_, err = q.w.Write([]byte("]\n"))
	return err
}

func (q *request) portions(builds []store.Build, v buildView) ([][]store.Build, error) {
	var ids []string
	for _, b := range builds {
		ids = append(ids, b.ID)
	}
	bytes, err := q.Store.MetaDataBytes(q.ctx, ids)
	return inPortions(builds, portionBytes, func(b store.Build) int64 {
		if !v.jobs && !v.counts {
			return bytes[b.ID]
		}
		return bytes[b.ID] + int64(b.Jobs.Total())*jobBytes
	}), err
}

// inPortions cuts a list where a portion would weigh more than most.
func inPortions[T any](list []T, most int64, weight func(T) int64) (out [][]T) {
	begin, sum := 0, int64(0)
	for i, v := range list {
		w := weight(v)
		if i > begin && sum+w > most {
			out, begin, sum = append(out, list[begin:i]), i, 0
		}
		sum += w
	}
	if begin < len(list) {
		out = append(out, list[begin:])
	}
	return out
}
