package jobapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
)

// maxBody bounds a request, in bytes. The largest are environments.
const maxBody = 8 << 20

func (s *Server) routes() http.Handler {
	const base = "/api/current-job/v0"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+base+"/env", s.getEnv)
	mux.HandleFunc("PATCH "+base+"/env", s.patchEnv)
	mux.HandleFunc("DELETE "+base+"/env", s.deleteEnv)
	mux.HandleFunc("PUT "+base+"/workdir", s.setWorkdir)
	mux.HandleFunc("POST "+base+"/redactions", s.redact)
	mux.HandleFunc("POST "+base+"/promise-failure", s.promiseFailure)
	return mux
}

func (s *Server) getEnv(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	env := s.env.Clone()
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"env": env})
}

func (s *Server) patchEnv(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Env map[string]*string `json:"env"`
	}
	if !decode(w, r, &in) {
		return
	}
	if why := unusable(in.Env); why != "" {
		refuse(w, http.StatusUnprocessableEntity, why)
		return
	}
	if !s.mayChange(w, slices.Collect(maps.Keys(in.Env))) {
		return
	}
	added, updated := s.set(in.Env)
	answer(w, http.StatusOK, map[string]any{"added": added, "updated": updated})
}

// unusable says which variables can't be set, "" if all can. A name with "=" would set what is before that, and a
// zero byte would keep everything that follows from being started, the operator's hooks too.
func unusable(env map[string]*string) string {
	var null, none []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch value := env[name]; {
		case value == nil:
			null = append(null, name)
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(*value, "\x00"):
			none = append(none, name)
		}
	}
	switch {
	case len(null) > 0:
		return "variables can't be set to null, delete them instead: " + strings.Join(null, ", ")
	case len(none) > 0:
		return `no process can have these variables, whose names are empty or hold "=", or which hold a zero byte: ` + strings.Join(none, ", ")
	}
	return ""
}

func (s *Server) set(env map[string]*string) (added, updated []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added, updated = []string{}, []string{}
	for name, value := range env {
		if _, had := s.env[name]; had {
			updated = append(updated, name)
		} else {
			added = append(added, name)
		}
		s.env[name], s.pending.Set[name] = *value, *value
		s.pending.Unset = slices.DeleteFunc(s.pending.Unset, func(n string) bool { return n == name })
	}
	slices.Sort(added)
	slices.Sort(updated)
	return added, updated
}

func (s *Server) deleteEnv(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Keys []string `json:"keys"`
	}
	if !decode(w, r, &in) || !s.mayChange(w, in.Keys) {
		return
	}
	answer(w, http.StatusOK, map[string]any{"deleted": s.unset(in.Keys)})
}

func (s *Server) unset(names []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	deleted := []string{}
	for _, name := range names {
		if _, had := s.env[name]; !had {
			continue
		}
		deleted = append(deleted, name)
		delete(s.env, name)
		delete(s.pending.Set, name)
		s.pending.Unset = append(s.pending.Unset, name)
	}
	slices.Sort(deleted)
	return deleted
}

func (s *Server) mayChange(w http.ResponseWriter, names []string) bool {
	protected := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !s.job.Protected(name) })
	if len(protected) == 0 {
		return true
	}
	slices.Sort(protected)
	refuse(w, http.StatusUnprocessableEntity, fmt.Sprintf("the agent's operator decides these variables, a job can't change them: %s", strings.Join(protected, ", ")))
	return false
}

func (s *Server) setWorkdir(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Workdir string `json:"workdir"`
	}
	if !decode(w, r, &in) {
		return
	}
	if !filepath.IsAbs(in.Workdir) {
		refuse(w, http.StatusUnprocessableEntity, fmt.Sprintf("workdir must be an absolute path, not %q", in.Workdir))
		return
	}
	s.mu.Lock()
	s.workdir = in.Workdir
	s.mu.Unlock()
	answer(w, http.StatusOK, in)
}

func (s *Server) redact(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Redact string `json:"redact"`
	}
	if !decode(w, r, &in) {
		return
	}
	s.job.Redact(in.Redact)
	answer(w, http.StatusCreated, map[string]any{"redacted": in.Redact})
}

func (s *Server) promiseFailure(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ExitStatus int    `json:"exit_status"`
		Reason     string `json:"reason"`
	}
	if !decode(w, r, &in) {
		return
	}
	if in.ExitStatus <= 0 {
		refuse(w, http.StatusBadRequest, "exit_status must be a positive integer")
		return
	}
	status, err := s.job.PromiseFailure(r.Context(), in.ExitStatus, in.Reason)
	out := struct {
		Outcome        string `json:"outcome"`
		Accepted       bool   `json:"accepted"`
		UpstreamStatus int    `json:"upstream_status,omitempty"`
		Error          string `json:"error,omitempty"`
	}{"declared", err == nil, status, ""}
	if err != nil {
		out.Error = err.Error()
	}
	answer(w, http.StatusOK, out)
}

func decode(w http.ResponseWriter, r *http.Request, in any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(in)
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body is not what is expected here: "+err.Error())
	}
	return err == nil
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}

func answer(w http.ResponseWriter, status int, out any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the job that asked is gone if this fails
}
