package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/mailtest"
)

// witness stands between the agents and their server, and remembers what the server acknowledged.
type witness struct {
	url    string // for agents
	smtp   string // for the server
	server *url.URL

	mu       sync.Mutex
	pieces   map[string][]piece   // of logs, by job
	files    map[string]announced // by artifact
	kept     map[string]bool      // artifacts whose end was acknowledged
	statuses map[string]string    // exit status of each job whose end was acknowledged
	told     map[int][]string     // the mails of each build's end
}

// piece is a part of a log.
type piece struct {
	offset int
	text   []byte
}

// announced is what an agent said of a file before it sent it.
type announced struct {
	job string
	Sum string `json:"sha256sum"`
}

func startWitness(t *testing.T) *witness {
	t.Helper()
	p := &witness{
		pieces: map[string][]piece{}, files: map[string]announced{}, kept: map[string]bool{},
		statuses: map[string]string{}, told: map[int][]string{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", p.pass)
	mux.HandleFunc("POST /v3/jobs/{job}/chunks", p.noting(p.chunk))
	mux.HandleFunc("POST /v3/jobs/{job}/artifacts", p.noting(p.announce))
	mux.HandleFunc("PUT /v3/jobs/{job}/artifacts", p.noting(p.keep))
	mux.HandleFunc("PUT /v3/jobs/{job}/finish", p.noting(p.finish))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	p.url = s.URL
	address, mails := mailtest.Serve(t)
	p.smtp = address
	go p.read(t.Context(), mails)
	return p
}

// pass hands a request on. Where the server gives no answer the agent gets none.
func (p *witness) pass(w http.ResponseWriter, r *http.Request) { p.proxy(nil).ServeHTTP(w, r) }

func (p *witness) proxy(answered func(*http.Response) error) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(p.server) },
		FlushInterval:  -1,
		ModifyResponse: answered,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
}

// noting is pass with a note of what was acknowledged: a request's body, and its answer's.
func (p *witness) noting(note func(r *http.Request, body, answer []byte) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the agent was killed
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.proxy(func(resp *http.Response) error {
			answer, err := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(answer))
			if err != nil || resp.StatusCode >= 300 {
				return err
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			return note(r, body, answer)
		}).ServeHTTP(w, r)
	}
}

func (p *witness) chunk(r *http.Request, body, _ []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	offset, err := strconv.Atoi(r.URL.Query().Get("offset"))
	job := r.PathValue("job")
	p.pieces[job] = append(p.pieces[job], piece{offset, text})
	return err
}

func (p *witness) announce(r *http.Request, body, answer []byte) error {
	var in struct{ Artifacts []announced }
	var out struct {
		IDs []string `json:"artifact_ids"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return err
	}
	for i, id := range out.IDs {
		p.files[id] = announced{r.PathValue("job"), in.Artifacts[i].Sum}
	}
	return nil
}

func (p *witness) keep(_ *http.Request, body, _ []byte) error {
	var in struct{ Artifacts []struct{ ID, State string } }
	err := json.Unmarshal(body, &in)
	for _, f := range in.Artifacts {
		if f.State == "finished" {
			p.kept[f.ID] = true
		}
	}
	return err
}

func (p *witness) finish(r *http.Request, body, _ []byte) error {
	var in struct {
		Status string `json:"exit_status"`
	}
	err := json.Unmarshal(body, &in)
	p.statuses[r.PathValue("job")] = in.Status
	return err
}

var (
	mailedBuild = regexp.MustCompile(`Build #(\d+)`)
	mailID      = regexp.MustCompile(`(?i)\nMessage-ID: (\S+)`)
)

// read takes the server's mails until the test ends. One that is sent again has the name it had.
func (p *witness) read(ctx context.Context, mails <-chan string) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-mails:
			p.note(m)
		}
	}
}

func (p *witness) note(mail string) {
	build, id := mailedBuild.FindStringSubmatch(mail), mailID.FindStringSubmatch("\n"+mail)
	if build == nil || id == nil {
		return
	}
	n, err := strconv.Atoi(build[1])
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.told[n], id[1]) {
		p.told[n] = append(p.told[n], id[1])
	}
}

// ends says of how many builds the server has told the end.
func (p *witness) ends() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.told)
}

// missing holds a log against the acknowledged pieces of it. A log may have more, and in place of what never
// came a line of the server's, so that runs of pieces are looked for one after another.
func (p *witness) missing(job, log string) error {
	at := 0
	for _, run := range runs(p.pieces[job]) {
		i := strings.Index(log[at:], string(run.text))
		if i < 0 || run.offset == 0 && i > 0 {
			return fmt.Errorf("%d acknowledged bytes from byte %d on are not in the log of %d bytes", len(run.text), run.offset, len(log))
		}
		at += i + len(run.text)
	}
	return nil
}

// runs joins the pieces that touch.
func runs(pieces []piece) []piece {
	var out []piece
	for _, next := range slices.SortedFunc(slices.Values(pieces), func(a, b piece) int { return a.offset - b.offset }) {
		if len(out) == 0 || out[len(out)-1].end() < next.offset {
			out = append(out, piece{next.offset, slices.Clone(next.text)})
			continue
		}
		last := &out[len(out)-1]
		if extra := next.end() - last.end(); extra > 0 {
			last.text = append(last.text, next.text[len(next.text)-extra:]...)
		}
	}
	return out
}

func (p piece) end() int { return p.offset + len(p.text) }

// bytes is how much of logs was acknowledged.
func (p *witness) bytes() (n int) {
	for _, pieces := range p.pieces {
		for _, run := range runs(pieces) {
			n += len(run.text)
		}
	}
	return n
}
