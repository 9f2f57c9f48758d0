package httperr

import "net/http"

// Answer knows whether it has begun.
type Answer struct {
	http.ResponseWriter
	begun bool
	lost  bool // writing failed
}

// Begun says whether the status is out.
func (a *Answer) Begun() bool { return a.begun }

// WriteHeader implements http.ResponseWriter.
func (a *Answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *Answer) Write(b []byte) (int, error) {
	a.begun = true
	n, err := a.ResponseWriter.Write(b)
	a.lost = a.lost || err != nil
	return n, err
}

// Unwrap lets http.ResponseController reach what is underneath.
func (a *Answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Abort gives up an answer that has begun: the connection is closed, or the stream of HTTP/2 reset. An answer that simply
// stopped would look whole, for net/http ends it as it ends every other. It does not return; net/http knows what it panics with and logs nothing.
func Abort() { panic(http.ErrAbortHandler) }
