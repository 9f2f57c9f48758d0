package restapi

import (
	"net/url"
	"strconv"

	"github.com/slipway-ci/slipway/internal/store"
)

// addresses makes the URLs of an organization's things, for clients and for people.
type addresses struct {
	base string // of the server
	slug string // of the organization
}

func (q *request) addresses() addresses { return addresses{q.BaseURL, q.org.Slug} }

func (a addresses) api() string { return a.base + "/v2/organizations/" + a.slug }
func (a addresses) web() string { return a.base + "/" + a.slug }
func (a addresses) pipeline(slug string) string {
	return a.api() + "/pipelines/" + url.PathEscape(slug)
}
func (a addresses) pipelinePage(slug string) string { return a.web() + "/" + url.PathEscape(slug) }
func (a addresses) agent(id string) string          { return a.api() + "/agents/" + id }
func (a addresses) cluster(id string) string        { return a.api() + "/clusters/" + id }

func (a addresses) build(slug string, number int64) string {
	return a.pipeline(slug) + "/builds/" + strconv.FormatInt(number, 10)
}

func (a addresses) buildPage(slug string, number int64) string {
	return a.pipelinePage(slug) + "/builds/" + strconv.FormatInt(number, 10)
}

func (a addresses) queue(q store.Queue) string { return a.cluster(q.ClusterID) + "/queues/" + q.ID }
