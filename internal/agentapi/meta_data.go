package agentapi

import (
	"errors"
	"net/http"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxMetaData bounds a request with meta-data in bytes: many values of the 100 kB that one may have.
const maxMetaData = 16 << 20

type metaData struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (a *Server) setMetaData(w http.ResponseWriter, r *http.Request, c caller) error {
	var in metaData
	if err := httperr.Decode(w, r, maxMetaData, &in); err != nil {
		return err
	}
	if err := a.Engine.SetMetaData(r.Context(), c.job.BuildID, map[string]string{in.Key: in.Value}); err != nil {
		return err
	}
	return ok(w)
}

func (a *Server) setMetaDataBatch(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Items []metaData `json:"items"`
	}
	if err := httperr.Decode(w, r, maxMetaData, &in); err != nil {
		return err
	}
	values := make(map[string]string, len(in.Items))
	for _, m := range in.Items {
		values[m.Key] = m.Value
	}
	if err := a.Engine.SetMetaData(r.Context(), c.job.BuildID, values); err != nil {
		return err
	}
	return ok(w)
}

// metaDataKey decodes which key of which build is asked for.
func (a *Server) metaDataKey(w http.ResponseWriter, r *http.Request, c caller) (buildID, key string, err error) {
	var in metaData
	if err := httperr.Decode(w, r, maxMetaData, &in); err != nil {
		return "", "", err
	}
	buildID, err = a.readableBuild(r, c)
	return buildID, in.Key, err
}

// getMetaData answers 404 for a key that is not set: the agent uses its default then.
func (a *Server) getMetaData(w http.ResponseWriter, r *http.Request, c caller) error {
	buildID, key, err := a.metaDataKey(w, r, c)
	if err != nil {
		return err
	}
	value, err := a.Store.MetaData(r.Context(), buildID, key)
	if errors.Is(err, store.ErrNotFound) {
		return httperr.New(http.StatusNotFound, "No key %q found", key)
	}
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, metaData{key, value})
}

func (a *Server) metaDataExists(w http.ResponseWriter, r *http.Request, c caller) error {
	buildID, key, err := a.metaDataKey(w, r, c)
	if err != nil {
		return err
	}
	_, err = a.Store.MetaData(r.Context(), buildID, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return httperr.JSON(w, http.StatusOK, struct {
		Exists bool `json:"exists"`
	}{err == nil})
}

func (a *Server) metaDataKeys(w http.ResponseWriter, r *http.Request, c caller) error {
	buildID, err := a.readableBuild(r, c)
	if err != nil {
		return err
	}
	keys, err := a.Store.MetaDataKeys(r.Context(), buildID)
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, append([]string{}, keys...)) // [], never null
}
