package store

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
)

// asJSON holds a scanned document to what encoding/json makes of it.
func asJSON[T any](t *testing.T, text string) {
	t.Helper()
	var want, got T
	wanted, err := json.Unmarshal([]byte(text), &want), document{&got}.Scan(text)
	if (wanted == nil) != (err == nil) {
		t.Errorf("%s: err %v, encoding/json says %v", text, err, wanted)
	}
	if diff := cmp.Diff(want, got); wanted == nil && diff != "" {
		t.Errorf("%s (-want +got):\n%s", text, diff)
	}
}

func TestListsOfWordsAreReadAsJSON(t *testing.T) {
	t.Parallel()
	for _, list := range [][]string{nil, {}, {""}, {"a"}, {"queue=default", "os=linux"}, {`a","b`}, {`"`, `\`}, {"<b>", "ü", "\n"}, {",", "["}} {
		asJSON[[]string](t, text(list))
	}
	for _, text := range []string{`[ ]`, `["a", "b"]`, `[ "a" ]`, `["a","b]`, `["a""b"]`, `["]`, `[`, ``, `{}`, `"a"`, `["a",1,"b"]`, `["a",["b"],"c"]`, `["a",null]`} {
		asJSON[[]string](t, text)
	}
}

func TestTalliesAreReadAsJSON(t *testing.T) {
	t.Parallel()
	for _, tally := range []ci.Tally{{}, {1, 2, 3}, {-1, 1 << 40}} {
		asJSON[ci.Tally](t, text(tally))
	}
	for _, text := range []string{`[]`, `[1]`, `[1,2,3,4,5,6,7,8,9,10,11,12,13,14]`, `[ 1, 2 ]`, `[1,2,3,4,5,6,7,8,9,10,11,12,13`, `[,]`, ``, `null`, `[1.5]`} {
		asJSON[ci.Tally](t, text)
	}
}

func BenchmarkDocument(b *testing.B) {
	b.Run("tally", func(b *testing.B) {
		var v ci.Tally
		for b.Loop() {
			if err := (document{&v}).Scan("[0,0,196,3,0,1,0,0,0,0,0,0,0]"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("words", func(b *testing.B) {
		var v []string
		for b.Loop() {
			if err := (document{&v}).Scan(`["queue=default","os=linux"]`); err != nil {
				b.Fatal(err)
			}
		}
	})
}
