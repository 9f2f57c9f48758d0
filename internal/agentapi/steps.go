package agentapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// findStep finds a step of a build by its key or id.
func (a *Server) findStep(r *http.Request, buildID, name string) (store.Step, error) {
	s, err := a.Store.StepByKey(r.Context(), buildID, name)
	if errors.Is(err, store.ErrNotFound) {
		s, err = a.Store.Step(r.Context(), name)
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && s.BuildID != buildID {
		return s, httperr.New(http.StatusNotFound, "No step found")
	}
	return s, err
}

func (a *Server) exportStep(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Attribute string `json:"attribute"`
		BuildID   string `json:"build_id"`
		Format    string `json:"format"`
	}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if in.BuildID == "" {
		in.BuildID = c.job.BuildID
	}
	if in.BuildID != c.job.BuildID {
		if err := a.sameOrganization(r, c, in.BuildID); err != nil {
			return err
		}
	}
	s, err := a.findStep(r, in.BuildID, r.PathValue("step"))
	if err != nil {
		return err
	}
	output, err := exported(s, in.Attribute, in.Format)
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, struct {
		Output string `json:"output"`
	}{output})
}

// stepAttributes are what may be asked of a step, and where its definition has each; "" for what the
// definition cannot know (https://buildkite.com/docs/agent/cli/reference/step).
var stepAttributes = map[string]string{
	"agents": "agents", "command": "command", "concurrency_key": "concurrency_group", "concurrency_limit": "concurrency",
	"depends_on": "depends_on", "env": "env", "if": "if", "key": "", "label": "", "notify": "notify", "outcome": "",
	"parallelism": "parallelism", "state": "", "timeout": "timeout_in_minutes", "type": "",
}

// exported is an attribute of a step, or all of them as an object. A text is given bare unless JSON
// is asked for.
func exported(s store.Step, attribute, format string) (string, error) {
	values, err := attributesOf(s)
	if err != nil {
		return "", err
	}
	if attribute == "" {
		all, err := json.Marshal(values)
		return string(all), err
	}
	if _, known := stepAttributes[attribute]; !known {
		names := make([]string, 0, len(stepAttributes))
		for name := range stepAttributes {
			names = append(names, name)
		}
		slices.Sort(names)
		return "", httperr.New(http.StatusUnprocessableEntity, "A step has no attribute %q; it has %s.", attribute, strings.Join(names, ", "))
	}
	raw, present := values[attribute]
	if format == "json" {
		if !present {
			return "null", nil
		}
		return string(raw), nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	return string(raw), nil
}

func attributesOf(s store.Step) (values map[string]json.RawMessage, err error) {
	var definition map[string]json.RawMessage
	if len(s.Definition) > 0 && s.Definition[0] == '{' {
		if err := json.Unmarshal(s.Definition, &definition); err != nil {
			return nil, err
		}
	}
	values = map[string]json.RawMessage{"id": quoted(s.ID)}
	for attribute, field := range stepAttributes {
		if raw, present := definition[field]; present {
			values[attribute] = raw
		}
	}
	if raw, present := definition["commands"]; present && values["command"] == nil {
		values["command"] = raw
	}
	if delete(values, "notify"); len(s.Spec.Notify) > 0 { // jobs change it
		if values["notify"], err = json.Marshal(s.Spec.Notify); err != nil {
			return nil, err
		}
	}
	values["key"], values["label"], values["type"] = quoted(s.Key), quoted(s.Label), quoted(string(s.Kind))
	values["state"], values["outcome"] = quoted(string(s.State())), quoted(string(s.Outcome()))
	return values, nil
}

// quoted is a text as JSON.
func quoted(text string) json.RawMessage {
	b, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage(`""`) // a string always encodes
	}
	return b
}

func (a *Server) updateStep(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		BuildID   string `json:"build_id"`
		Attribute string `json:"attribute"`
		Value     string `json:"value"`
		Append    bool   `json:"append"`
		UUID      string `json:"idempotency_uuid"`
	}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if err := ownBuild(c, in.BuildID); err != nil {
		return err
	}
	err := a.Engine.UpdateStep(r.Context(), engine.UpdateStep{
		BuildID: c.job.BuildID, Step: r.PathValue("step"), Attribute: in.Attribute, Value: in.Value, Append: in.Append, UUID: in.UUID,
	})
	if err != nil {
		return err
	}
	return ok(w)
}

// defaultGrace is how long, in seconds, agents have to end what is canceled by force
// (https://buildkite.com/docs/agent/cli/reference/step#canceling-a-step).
const defaultGrace = 10

// cancelStep ends the open jobs of a step.
func (a *Server) cancelStep(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		BuildID string `json:"build_id"`
		Force   bool   `json:"force"`
		Grace   int    `json:"force_grace_period"` // seconds
	}
	in.Grace = defaultGrace
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if err := ownBuild(c, in.BuildID); err != nil {
		return err
	}
	s, err := a.findStep(r, c.job.BuildID, r.PathValue("step"))
	if err != nil {
		return err
	}
	grace := time.Duration(max(math.MinInt32, min(in.Grace, math.MaxInt32))) * time.Second // what is out of all bounds is refused, not turned around
	err = a.Engine.CancelStep(r.Context(), engine.CancelStep{
		BuildID: c.job.BuildID, Step: s.ID, By: canceler(c), Force: in.Force, Grace: grace,
	})
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, uuid{s.ID})
}
