package web

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
)

// limitFields are the settings of an organization in the order of their form, by name as in the REST
// API; docs/settings.md describes them.
var limitFields = []struct {
	title string
	names []limitField
}{
	{"What a build may grow to", []limitField{
		{"max_jobs_per_upload", "Jobs of one pipeline upload", "A group counts as one. 0: no limit."},
		{"max_jobs_per_plan", "Jobs of a pipeline's own document", "0: no limit."},
		{"max_uploads_per_build", "Uploads of a build", "0: no limit."},
		{"max_jobs_per_build", "Jobs of a build", "Retries included. 0: no limit."},
	}},
	{"What a matrix may grow to", []limitField{
		{"max_matrix_jobs", "Jobs of one step", "0: no limit."},
		{"max_matrix_dimensions", "Dimensions of one step", "0: no limit."},
		{"max_matrix_values", "Values of one dimension", "0: no limit."},
		{"max_matrix_adjustments", "Adjustments of one step", "0: no limit."},
		{"max_matrix_element_bytes", "Bytes of a name or a value", "0: no limit."},
	}},
	{"Time", []limitField{
		{"default_command_step_timeout", "Time limit of a step, minutes", "Where neither the step nor its pipeline says. 0: none."},
		{"maximum_command_step_timeout", "Longest time limit, minutes", "No step exceeds it. 0: none."},
		{"scheduled_job_expiry_days", "Wait for an agent, days", "A job that no agent took ends then."},
	}},
	{"Logs and artifacts", []limitField{
		{"max_log_mib", "Log of one job, MiB", "It is cut there, and the job goes on."},
		{"log_retention_days", "Keep logs, days", "After the job's end. 0: until somebody deletes them."},
		{"artifact_retention_days", "Keep artifacts, days", "A pipeline's own setting goes before. 0: until somebody deletes them."},
		{"max_artifacts_per_job", "Files of one job", "0: no limit."},
		{"max_artifact_mib", "One file, MiB", "In the server's own storage. 0: no limit."},
		{"max_artifact_mib_per_job", "All files of one job, MiB", "0: no limit."},
		{"max_artifact_mib_in_total", "All files together, MiB", "In the server's own storage at a time. 0: no limit."},
	}},
	{"Caches", []limitField{
		{"cache_retention_days", "Keep caches, days", "After the last use."},
		{"max_cache_mib", "One cache, MiB", "In the server's own storage. 0: no limit."},
		{"max_cache_mib_in_total", "All caches together, MiB", "In the server's own storage. Beyond it those go that were not used for longest. 0: no limit."},
	}},
}

// limitField is one setting that is a number.
type limitField struct{ name, label, hint string }

// openLimits is the form of an organization's settings. A field that is left empty goes back to its
// default, which it names.
func openLimits(q *request) (Sheet, error) {
	s := Sheet{
		Title: "Limits and retention", Sub: "Of all pipelines of " + orElse(q.org.Name, q.org.Slug) + ". What is saved holds for what comes after it.",
		At: q.settingsPath("limits"), Do: "Save changes", Stays: true,
	}
	now, err := engine.SettingsOf(q.org)
	if err != nil {
		return s, err
	}
	values, defaults := numbersOf(now), numbersOf(engine.DefaultSettings())
	for _, part := range limitFields {
		sec := Section{Title: part.title}
		for _, f := range part.names {
			in := Input{Name: f.name, Label: f.label, Hint: f.hint, Kind: InputNumber, Value: values[f.name], Placeholder: defaults[f.name]}
			if values[f.name] != defaults[f.name] {
				in.Hint += " Default " + defaults[f.name] + "."
			}
			sec.Inputs = append(sec.Inputs, in)
		}
		s.Sections = append(s.Sections, sec)
	}
	s.Sections = append(s.Sections, Section{Title: "Agents", Wide: true, Inputs: []Input{
		tick("agents_create_queues", "A registering agent makes the queue that it names", "Otherwise an agent of an unknown queue is refused.", now.AgentsCreateQueues),
	}})
	s.save = func(given url.Values) (string, error) {
		_, err := q.Engine.ChangeSettings(q.ctx, q.org.ID, limitChange(given))
		return "", err
	}
	return s, nil
}

// numbersOf are the settings by name.
func numbersOf(s engine.Settings) map[string]string {
	out := map[string]string{}
	doc, err := json.Marshal(s)
	var all map[string]any
	if err != nil || json.Unmarshal(doc, &all) != nil {
		return out // a struct of numbers always encodes
	}
	for name, v := range all {
		if n, ok := v.(float64); ok {
			out[name] = strconv.FormatFloat(n, 'f', -1, 64)
		}
	}
	return out
}

// limitChange is what a form asks to change. What is no number goes on as it is, and is refused.
func limitChange(given url.Values) map[string]json.RawMessage {
	change := map[string]json.RawMessage{"agents_create_queues": json.RawMessage(strconv.FormatBool(given.Get("agents_create_queues") != ""))}
	for _, part := range limitFields {
		for _, f := range part.names {
			change[f.name] = numberOf(strings.TrimSpace(given.Get(f.name)))
		}
	}
	return change
}

func numberOf(text string) json.RawMessage {
	if text == "" {
		return json.RawMessage("null")
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return json.RawMessage(strings.TrimLeft(text, "+"))
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage(`""`) // a string always encodes
	}
	return quoted
}
