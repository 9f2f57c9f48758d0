// Package httperr stands between errors and HTTP: what status an error is, what the caller is told
// and what is logged. The two texts are different fields: a caller never sees the cause of a fault.
//
// A status is part of the protocols. Agents retry 429 and 5xx and give up on every other 4xx
// (agent v3.138.1, api/retryable.go), so a refusal must be a 4xx and a fault a 5xx.
package httperr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Error is an answer that is not a success.
type Error struct {
	Status  int
	Message string            // for the caller
	Fields  map[string]string // validation errors by field
	Err     error             // for the log; nil for refusals
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%d %s: %v", e.Status, e.Message, e.Err)
	}
	return fmt.Sprintf("%d %s", e.Status, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// New returns a refusal with a status.
func New(status int, format string, args ...any) *Error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

var statuses = map[engine.Why]int{
	engine.Invalid: http.StatusUnprocessableEntity, engine.Missing: http.StatusNotFound,
	engine.Conflict: http.StatusUnprocessableEntity, engine.Forbidden: http.StatusForbidden,
	engine.TooMany: http.StatusTooManyRequests,
}

// Of finds out what an error is to the caller.
func Of(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if r, ok := errors.AsType[*engine.Refused](err); ok {
		return &Error{Status: statuses[r.Why], Message: r.Message, Fields: r.Fields}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return New(http.StatusRequestEntityTooLarge, "The request is larger than %d bytes.", tooLarge.Limit)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return New(http.StatusNotFound, "Not Found")
	case errors.Is(err, context.Canceled):
		return &Error{Status: 499, Message: "The request was given up.", Err: err}
	}
	return &Error{Status: http.StatusInternalServerError, Message: "Something went wrong on the server; its log has the cause.", Err: err}
}

// Handler serves a function that returns its error. render writes an answer for it; faults are logged here and nowhere else, and a caller
// that goes away in the middle of its answer is none. After the function has begun to answer nothing is rendered: the answer is aborted.
func Handler(log *slog.Logger, render func(http.ResponseWriter, *http.Request, *Error), fn func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &Answer{ResponseWriter: w}
		err := fn(a, r)
		if err == nil {
			return
		}
		e := Of(err)
		gone := a.lost && r.Context().Err() != nil    // the connection is lost, or the stream of HTTP/2 reset
		if e.Status >= 500 && e.Err != nil && !gone { // "come again later" is an answer, not a fault
			log.ErrorContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "err", e.Err)
		}
		if a.Begun() {
			Abort()
		}
		render(w, r, e)
	})
}

// Decode reads a JSON body of at most limit bytes whatever its Content-Type says: scripts post JSON
// as forms. An empty body leaves v as it is.
func Decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	body, err := Body(w, r, limit)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return New(http.StatusBadRequest, "The request is not the JSON expected here: %s", misfit(err))
	}
	return nil
}

// mostAtOnce is how many bytes of memory a body gets because its length is announced, before any of it is there: a chunk of a log.
const mostAtOnce = 128 << 10

// Body reads a request's body of at most limit bytes, sent as it is.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, New(http.StatusUnsupportedMediaType, "The request's body has the Content-Encoding %q; send it as it is, without one.", coding)
	}
	var body bytes.Buffer
	if err := ReadBody(w, r, limit, &body); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

// ReadBody appends a request's body of at most limit bytes to to. That it does not arrive is no fault of the server: it is a 408
// where it may arrive another time, because the caller or the network was slow or gave up, and a 400 where it is not HTTP.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64, to *bytes.Buffer) error {
	to.Grow(int(min(max(r.ContentLength, 0), mostAtOnce)) + bytes.MinRead)
	_, err := to.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return nil
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF):
		return New(http.StatusRequestTimeout, "The request's body did not arrive whole, or not in time; send it again.")
	case r.Context().Err() != nil:
		return r.Context().Err()
	}
	return New(http.StatusBadRequest, "The request's body can't be read: %v", err)
}

// misfit says what is wrong with a body in the words of JSON: those of encoding/json name our types.
func misfit(err error) string {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err.Error()
	}
	if e.Field == "" {
		return "it is of another kind: " + e.Value + "."
	}
	return fmt.Sprintf("%q does not take a value of this kind: %s.", e.Field, e.Value)
}

// JSON answers with a value.
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding an answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}
