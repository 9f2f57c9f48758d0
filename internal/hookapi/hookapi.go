// Package hookapi is the door for what comes from outside: a forge's webhooks, at an address that each
// pipeline has of its own (https://buildkite.com/docs/pipelines/source-control/github), and requests to
// pipelines' trigger addresses (https://buildkite.com/docs/apis/webhooks/incoming/pipeline-triggers).
//
// The address holds a secret, and that is who may use it: nothing else is asked, and a body is not read
// before the secret was found to be good. Where the pipeline has a secret to sign with, a delivery must
// bear its signature too. What is delivered twice, under one id, is answered twice and done once. Every
// answer is JSON and says what became of the delivery, in a sentence; the pipeline's page keeps the same.
package hookapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// Deps are what the door works with. All fields are required.
type Deps struct {
	Engine *engine.Engine
	Store  *store.Store
	Log    *slog.Logger
}

type server struct{ Deps }

// route is one address and who may use it.
type route struct {
	pattern    string
	permission string
	serve      func(*server, http.ResponseWriter, *http.Request) error
}

// byAddress is the permission of whoever has the secret in the path.
const byAddress = "the secret in the address"

var routes = []route{
	{"POST /deliver/{secret}", byAddress, (*server).deliver},
}

// New returns the handler of /deliver/.
func New(d Deps) http.Handler {
	s := &server{d}
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.pattern, s.handler(rt.serve))
	}
	mux.Handle("/", s.handler(func(*server, http.ResponseWriter, *http.Request) error {
		return httperr.New(http.StatusNotFound, "There is nothing at this address. Events are posted to /deliver/ and the pipeline's secret.")
	}))
	return mux
}

// handler serves a route. Its log never names the address, which is a secret.
func (s *server) handler(fn func(*server, http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := fn(s, w, r)
		if err == nil {
			return
		}
		e := httperr.Of(err)
		if e.Status >= 500 {
			s.Log.ErrorContext(r.Context(), "delivery", "err", e.Err)
		}
		_ = httperr.JSON(w, e.Status, answer{Message: e.Message}) // a sender who has gone is told nothing
	})
}

// answer is what a sender is told.
type answer struct {
	ID      string  `json:"id,omitempty"`
	Outcome string  `json:"outcome,omitempty"`
	Message string  `json:"message"`
	Builds  []int64 `json:"builds,omitempty"`
}

// maxBody is the largest delivery that is read, in bytes; GitHub sends no more
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap).
const maxBody = 25 << 20

// deliver takes an event of a forge, or a request to a trigger address.
func (s *server) deliver(w http.ResponseWriter, r *http.Request) error {
	if strings.HasPrefix(r.PathValue("secret"), engine.TriggerPrefix) {
		return s.trigger(w, r)
	}
	hook, err := s.Store.WebhookByToken(r.Context(), secret.HashToken(r.PathValue("secret")))
	if errors.Is(err, store.ErrNotFound) {
		return httperr.New(http.StatusNotFound, "No pipeline has this delivery address. It may have been replaced; the pipeline's settings show the present one.")
	}
	if err != nil {
		return err
	}
	from, err := senderOf(r.Header)
	if err != nil {
		return err
	}
	body, err := httperr.Body(w, r, maxBody)
	if err != nil {
		return err
	}
	if err := s.verify(r, hook, from, body); err != nil {
		return err
	}
	if body, err = document(r.Header, body); err != nil {
		return err
	}
	event, err := from.decode(from.event, body)
	if err != nil {
		return httperr.New(http.StatusBadRequest, "%v", err)
	}
	d, err := s.Engine.Deliver(r.Context(), engine.Deliver{PipelineID: hook.PipelineID, Key: from.key(body), Event: event, Payload: body})
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, answer{ID: d.ID, Outcome: d.Outcome, Message: d.Reason, Builds: d.Builds})
}

// verify refuses a delivery that lacks the signature that the pipeline asks for.
func (s *server) verify(r *http.Request, hook store.Webhook, from sender, body []byte) error {
	if !hook.Signed {
		return nil
	}
	key, err := s.Engine.Unseal(r.Context(), engine.SignaturePlace(hook.PipelineID))
	if err != nil {
		return err
	}
	if !from.verify(r.Header, key, body) {
		return httperr.New(http.StatusUnauthorized, "The signature is missing or wrong. The webhook's secret must be the one in the pipeline's settings.")
	}
	return nil
}

// document is the JSON of a delivery: the body itself, or the field payload of a form, which GitHub sends
// where its webhook says so.
func document(h http.Header, body []byte) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("payload") {
		return nil, httperr.New(http.StatusBadRequest, "The form has no field payload. Set the webhook's content type to application/json.")
	}
	return []byte(form.Get("payload")), nil
}

// key is the sender's id of a delivery. Without one, what has the same content counts as the same.
func (f sender) key(body []byte) string {
	if f.id != "" && len(f.id) <= maxID {
		return f.provider + ":" + f.id
	}
	sum := sha256.Sum256(append([]byte(f.event+"\n"), body...))
	return f.provider + ":sha256:" + hex.EncodeToString(sum[:])
}

// maxID is the longest id of a delivery that is kept, in bytes.
const maxID = 200
