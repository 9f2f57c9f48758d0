// Package client calls the REST API of a server, version 2
// (https://buildkite.com/docs/apis/rest-api).
//
// A method makes one request, and nothing is repeated: an error that is not an *Error means that the
// answer is not known, and the caller decides whether asking again is harmless. Lists return one
// page; ListOptions names it, and Next of the answer the one after it.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Client calls one organization of one server. It is safe for concurrent use.
type Client struct {
	// URL is where the server is, without a trailing slash: http://127.0.0.1:8080.
	URL          string
	Token        string // an API token
	Organization string // slug; of no matter to AccessToken and Organizations
	// HTTP makes the requests; nil: a client of the standard library's defaults, without a time
	// limit, because logs may be long. Contexts limit calls.
	HTTP      *http.Client
	UserAgent string // "": slipway
}

// Error is an answer that is not a success.
type Error struct {
	Status  int
	Message string
	Fields  map[string]string // what is wrong with single fields of the request
}

func (e *Error) Error() string {
	if len(e.Fields) == 0 {
		return e.Message
	}
	return fmt.Sprintf("%s (%s)", e.Message, strings.Join(fieldTexts(e.Fields), "; "))
}

// maxError is how much of an error's answer is read, in bytes.
const maxError = 1 << 20

// httpClient has no state of its own worth keeping: idle connections are the transport's.
func (c *Client) httpClient() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return &http.Client{}
}

// at is the path of something of the organization.
func (c *Client) at(segments ...string) string {
	path := "/v2/organizations/" + url.PathEscape(c.Organization)
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	return path
}

// send makes a request. The caller closes the answer's body; one that is not 2xx is an *Error.
func (c *Client) send(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, content)
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		req.Header[key] = values
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("User-Agent", c.userAgent())
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.httpClient().Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, refusal(resp)
	}
	return resp, nil
}

func (c *Client) userAgent() string {
	if c.UserAgent == "" {
		return "slipway"
	}
	return c.UserAgent
}

// refusal reads an answer that is not a success.
func refusal(resp *http.Response) error {
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		return fmt.Errorf("reading the answer %s: %w", resp.Status, err)
	}
	var body struct {
		Message string
		Errors  []struct{ Field, Code string }
	}
	if json.Unmarshal(text, &body) != nil || body.Message == "" {
		return &Error{Status: resp.StatusCode, Message: resp.Status}
	}
	e := &Error{Status: resp.StatusCode, Message: body.Message}
	for _, f := range body.Errors {
		if e.Fields == nil {
			e.Fields = map[string]string{}
		}
		e.Fields[f.Field] = f.Code
	}
	return e
}

// call makes a request and decodes what it answers, which may be nothing.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	v, _, err := callWithHeader[T](ctx, c, method, path, body)
	return v, err
}

func callWithHeader[T any](ctx context.Context, c *Client, method, path string, body any) (v T, h http.Header, err error) {
	resp, err := c.send(ctx, method, path, body, nil)
	if err != nil {
		return v, nil, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&v)
	if errors.Is(err, io.EOF) {
		err = nil // 204
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", method, path, err)
	}
	return v, resp.Header, err
}

// Page is a page of a list.
type Page[T any] struct {
	Items []T
	Next  int // the number of the next page, 0 if this is the last
}

// ListOptions name a page of a list.
type ListOptions struct {
	Page    int // from 1; 0: the first
	PerPage int // up to 100; 0: 30
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	if o.Page > 0 {
		q.Set("page", strconv.Itoa(o.Page))
	}
	if o.PerPage > 0 {
		q.Set("per_page", strconv.Itoa(o.PerPage))
	}
	return q
}

func listed[T any](ctx context.Context, c *Client, path string, query url.Values) (Page[T], error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	items, header, err := callWithHeader[[]T](ctx, c, http.MethodGet, path, nil)
	return Page[T]{Items: items, Next: nextPage(header.Get("Link"))}, err
}

var nextLink = regexp.MustCompile(`<([^>]*)>; rel="next"`)

// nextPage is the page that a Link header (RFC 8288) names as the next.
func nextPage(link string) int {
	m := nextLink.FindStringSubmatch(link)
	if m == nil {
		return 0
	}
	u, err := url.Parse(m[1])
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(u.Query().Get("page"))
	if err != nil {
		return 0
	}
	return n
}
