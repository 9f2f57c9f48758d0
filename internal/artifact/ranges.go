package artifact

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxRanges bounds how often one request opens a file.
const maxRanges = 16

// heedRange leaves only a Range that http.ServeContent reads as RFC 9110 §14 does: of a unit that is not known, or of too many pieces,
// the whole is the answer, and the last 0 bytes are nothing that can be given.
func heedRange(h http.Header, size int64) {
	asked := h.Get("Range")
	of, known := strings.CutPrefix(asked, "bytes=")
	switch {
	case asked == "":
	case !known, strings.Count(of, ",") >= maxRanges:
		h.Del("Range")
	case strings.TrimRight(strings.TrimLeft(of, " \t"), " \t0") == "-":
		h.Set("Range", fmt.Sprintf("bytes=%d-", size))
	}
}

// refusing keeps back what http.ServeContent says in words of its own when it refuses a request.
type refusing struct {
	http.ResponseWriter
	status int
}

func (w *refusing) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.status = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *refusing) Write(b []byte) (int, error) {
	if w.status != 0 {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach what is underneath.
func (w *refusing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// refusal is the error that says it in ours, nil if nothing was refused.
func (w *refusing) refusal(f store.Artifact) error {
	switch w.status {
	case 0:
		return nil
	case http.StatusRequestedRangeNotSatisfiable:
		return httperr.New(w.status, "The file has %d bytes, and none in the range that was asked for.", f.Size)
	case http.StatusPreconditionFailed:
		return httperr.New(w.status, "The file is not the one that the request's conditions speak of.")
	}
	return fmt.Errorf("giving out artifact %s: answer %d", f.ID, w.status)
}
