package restapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// Pages, as documented at https://buildkite.com/docs/apis/rest-api#pagination.
const (
	defaultPerPage = 30
	maxPerPage     = 100
	// maxDepth is how far into a list of builds a page may lie: skipping rows costs reading them.
	maxDepth = 10_000
)

// page is what part of a list is asked for, by number.
type page struct{ number, size int }

// page reads page and per_page; nonsense counts as absent.
func (q *request) page() page {
	p := page{q.number("page", 1), q.perPage()}
	if p.number > 1<<31 {
		p.number = 1 << 31
	}
	return p
}

func (q *request) perPage() int { return min(q.number("per_page", defaultPerPage), maxPerPage) }

func (q *request) number(name string, otherwise int) int {
	n, err := strconv.Atoi(q.r.URL.Query().Get(name))
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}

func (p page) rows() store.Page { return store.Page{Offset: (p.number - 1) * p.size, Limit: p.size} }

// slice returns the page of a list that is there as a whole.
func slice[T any](all []T, p page) []T {
	from := min((p.number-1)*p.size, len(all))
	return all[from:min(from+p.size, len(all))]
}

// link sets the Link header of a list of total items.
func (q *request) link(p page, total int) {
	last := max((total+p.size-1)/p.size, 1)
	var links []string
	add := func(rel string, number int) {
		query := q.r.URL.Query()
		query.Set("page", strconv.Itoa(number))
		query.Set("per_page", strconv.Itoa(p.size))
		links = append(links, fmt.Sprintf(`<%s>; rel="%s"`, q.self(query), rel))
	}
	if p.number > 1 {
		add("first", 1)
		add("prev", min(p.number-1, last))
	}
	if p.number < last {
		add("next", p.number+1)
		add("last", last)
	}
	if len(links) > 0 {
		q.w.Header().Set("Link", strings.Join(links, ", "))
	}
}

// self is the address of the request with another query.
func (q *request) self(query url.Values) string {
	u := q.BaseURL + q.r.URL.EscapedPath()
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return u
}

// cursorPage is a part of a list that is walked by the ids on it.
type cursorPage[T any] struct {
	Items []T         `json:"items"`
	Links cursorLinks `json:"links"`
}

type cursorLinks struct {
	Self  string `json:"self"`
	First string `json:"first,omitempty"`
	Prev  string `json:"prev,omitempty"`
	Next  string `json:"next,omitempty"`
}

// window finds the page that after or before, both exclusive, ask for in a list of ids.
func (q *request) window(ids []string) (from, to int, links cursorLinks, err error) {
	query, size := q.r.URL.Query(), q.perPage()
	to = len(ids)
	if id := query.Get("after"); id != "" {
		from = slices.Index(ids, id) + 1
		if from == 0 {
			return 0, 0, links, httperr.New(http.StatusBadRequest, "The cursor %q is not in this list.", id)
		}
	} else if id := query.Get("before"); id != "" {
		to = slices.Index(ids, id)
		if to < 0 {
			return 0, 0, links, httperr.New(http.StatusBadRequest, "The cursor %q is not in this list.", id)
		}
		from = max(to-size, 0)
	}
	to = min(to, from+size)
	links = cursorLinks{Self: q.self(query)}
	if from > 0 {
		links.First = q.cursor("", "")
		links.Prev = q.cursor("before", ids[min(from, len(ids)-1)])
		if from == len(ids) {
			links.Prev = ""
		}
	}
	if to < len(ids) && to > 0 {
		links.Next = q.cursor("after", ids[to-1])
	}
	return from, to, links, nil
}

func (q *request) cursor(name, id string) string {
	query := q.r.URL.Query()
	query.Del("after")
	query.Del("before")
	if name != "" {
		query.Set(name, id)
	}
	return q.self(query)
}

// values returns all that is given for a query key, also as key[] or key[0].
func (q *request) values(name string) []string {
	var out []string
	for key, values := range q.r.URL.Query() {
		rest, ok := strings.CutPrefix(key, name)
		if ok && (rest == "" || strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]")) {
			out = append(out, values...)
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// keyed returns what is given as name[key]=value.
func (q *request) keyed(name string) map[string]string {
	out := map[string]string{}
	for key, values := range q.r.URL.Query() {
		rest, ok := strings.CutPrefix(key, name+"[")
		if inner, closed := strings.CutSuffix(rest, "]"); ok && closed && inner != "" {
			out[inner] = values[0]
		}
	}
	return out
}

// flag says whether a query key is set to something true.
func (q *request) flag(name string, otherwise bool) bool {
	v, err := strconv.ParseBool(q.r.URL.Query().Get(name))
	if err != nil {
		return otherwise
	}
	return v
}

// instant reads a time; a "+" of its zone may have arrived as a space.
func (q *request) instant(name string) (time.Time, error) {
	text := strings.ReplaceAll(q.r.URL.Query().Get(name), " ", "+")
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, invalid(name, "is not a time such as 2026-11-23T12:00:00Z")
}
