// Package client speaks to a scheduler's API for the operator's verbs.
//
//	verb ─► Get, Send, Create, List ─► HTTP with a bearer token ─► JSON, or an *Error that names the fix
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// DefaultServer is where a scheduler listens by default.
const DefaultServer = "http://127.0.0.1:7080"

const (
	// maxAnswer bounds one answer. A page of 1000 cameras takes about 1 MB.
	maxAnswer = 64 << 20

	// patience bounds one request; an audit may take minutes.
	patience = 3 * time.Minute

	// pageSize is the API's largest page.
	pageSize = 1000

	apiBase = "/api/v1"
)

// Options say which scheduler, and who asks.
type Options struct {
	Server    string // URL; default DefaultServer
	TokenFile string // holds the bearer token
}

// Client asks one scheduler. It may be used from several goroutines.
type Client struct {
	base  *url.URL
	token fleet.Secret
	http  *http.Client
}

// Error is a refusal of the API.
type Error struct {
	Status int
	Detail string
}

// Error returns what the API said.
func (e *Error) Error() string { return e.Detail }

// New checks the options and reads the token.
func New(o Options) (*Client, error) {
	server := o.Server
	if server == "" {
		server = DefaultServer
	}
	base, err := url.Parse(server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("server %q: want a URL such as %s, by --server or SHUTTERFLEET_SERVER", server, DefaultServer)
	}
	if base.User != nil {
		return nil, errors.New("server: the URL may hold no login; put the token into a file and name it by SHUTTERFLEET_TOKEN_FILE")
	}
	if o.TokenFile == "" {
		return nil, errors.New("no token file: name it by --token-file or SHUTTERFLEET_TOKEN_FILE; the scheduler wrote the first one as admin.token into its data directory")
	}
	b, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token file: %w; the scheduler wrote the first one as admin.token into its data directory", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \r\n") {
		return nil, fmt.Errorf("token file %s: want one line with the token", o.TokenFile)
	}
	// A token goes to the server it was meant for only, so no redirects.
	c := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Client{base: base, token: fleet.Secret(token), http: c}, nil
}

// Get reads what stands at a path below /api/v1.
func (c *Client) Get(ctx context.Context, path string, q url.Values, into any) error {
	return c.do(ctx, request{method: http.MethodGet, path: path, query: q}, into)
}

// Send sends body as JSON. Secrets in it must be plain strings: fleet.Secret
// writes itself as ***.
func (c *Client) Send(ctx context.Context, method, path string, body, into any) error {
	return c.SendWith(ctx, method, path, nil, body, into)
}

// SendWith is Send with a query.
func (c *Client) SendWith(ctx context.Context, method, path string, q url.Values, body, into any) error {
	r := request{method: method, path: path, query: q}
	if body != nil {
		var err error
		if r.body, err = json.Marshal(body); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		r.kind = "application/json"
	}
	return c.do(ctx, r, into)
}

// Create posts body as JSON, and once more when the answer to the first was
// lost on its way: both carry one Idempotency-Key, so that what is asked for is
// done once.
func (c *Client) Create(ctx context.Context, path string, q url.Values, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	r := request{method: http.MethodPost, path: path, query: q, kind: "application/json", body: b, key: rand.Text()}
	err = c.do(ctx, r, into)
	if lost, ok := errors.AsType[*lostError](err); ok && !lost.unsent() && ctx.Err() == nil {
		err = c.do(ctx, r, into)
	}
	return err
}

// Post sends raw bytes of a kind.
func (c *Client) Post(ctx context.Context, path string, q url.Values, kind string, body []byte, into any) error {
	return c.do(ctx, request{method: http.MethodPost, path: path, query: q, kind: kind, body: body}, into)
}

// Bytes reads what stands at a path, of a kind that is not JSON.
func (c *Client) Bytes(ctx context.Context, path, kind string) (b []byte, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: path, accept: kind}, &b)
	return b, err
}

// List reads pages until limit items have come, or all of them when it is 0.
func List[T any](ctx context.Context, c *Client, path string, q url.Values, limit int) ([]T, error) {
	out := []T{}
	query := url.Values{}
	for k, v := range q {
		query[k] = v
	}
	for {
		if n := pageSize; limit > 0 {
			query.Set("limit", strconv.Itoa(min(n, limit-len(out))))
		} else {
			query.Set("limit", strconv.Itoa(n))
		}
		var page admin.List[T]
		if err := c.Get(ctx, path, query, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == "" || page.Next == query.Get("after") || limit > 0 && len(out) >= limit {
			return out, nil
		}
		query.Set("after", page.Next)
	}
}

// All reads a list that comes in one page.
func All[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	page := admin.List[T]{Items: []T{}}
	err := c.Get(ctx, path, nil, &page)
	return page.Items, err
}

type request struct {
	method, path string
	query        url.Values
	kind         string
	body         []byte
	key          string // Idempotency-Key
	accept       string // default JSON
}

// lostError says that no answer came, or not all of it.
type lostError struct {
	text string
	err  error
}

func (e *lostError) Error() string { return e.text }
func (e *lostError) Unwrap() error { return e.err }

// unsent reports whether nobody was there to be asked.
func (e *lostError) unsent() bool {
	op, ok := errors.AsType[*net.OpError](e.err)
	return ok && op.Op == "dial"
}

// ask sends one request. The caller closes the answer's body.
func (c *Client) ask(ctx context.Context, q request) (*http.Response, error) {
	u := c.base.JoinPath(apiBase, q.path)
	u.RawQuery = q.query.Encode()
	r, err := http.NewRequestWithContext(ctx, q.method, u.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", q.method, q.path, err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	r.Header.Set("Accept", cmp.Or(q.accept, "application/json"))
	if q.kind != "" {
		r.Header.Set("Content-Type", q.kind)
	}
	if q.key != "" {
		r.Header.Set("Idempotency-Key", q.key)
	}
	res, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, &lostError{fmt.Sprintf("no scheduler answers at %s: %v; start it with `shutterfleet scheduler`, or name another by --server or SHUTTERFLEET_SERVER", c.base.Redacted(), err), err}
	}
	return res, nil
}

func (c *Client) do(ctx context.Context, q request, into any) error {
	res, err := c.ask(ctx, q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return &lostError{fmt.Sprintf("answer of %s: %v", c.base.Redacted(), err), err}
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("answer of %s: more than %d MB: ask for less", c.base.Redacted(), maxAnswer>>20)
	}
	if res.StatusCode/100 != 2 {
		return c.refusal(res, b)
	}
	if into == nil || len(b) == 0 {
		return nil
	}
	if raw, ok := into.(*[]byte); ok {
		*raw = b
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s does not answer as a scheduler: %w; is --server right?", c.base.Redacted(), err)
	}
	return nil
}

// refusal turns a problem (RFC 9457) into an Error.
func (c *Client) refusal(res *http.Response, b []byte) error {
	var p struct {
		Title, Detail string
		Errors        []struct{ Message, Location string }
	}
	if json.Unmarshal(b, &p) != nil || p.Detail == "" && p.Title == "" {
		return &Error{res.StatusCode, fmt.Sprintf("%s answered %s, and not as a scheduler does: is --server right?", c.base.Redacted(), res.Status)}
	}
	detail := p.Detail
	if detail == "" {
		detail = p.Title
	}
	for _, e := range p.Errors {
		if !strings.Contains(detail, e.Message) {
			detail += "; " + strings.TrimPrefix(e.Location, "body.") + ": " + e.Message
		}
	}
	switch res.StatusCode {
	case http.StatusUnauthorized:
		detail += " (the token comes from --token-file or SHUTTERFLEET_TOKEN_FILE)"
	case http.StatusNotFound:
		if strings.Contains(detail, "no such path") {
			detail += "; this scheduler may be older than this program: compare `shutterfleet version`"
		}
	}
	return &Error{res.StatusCode, detail}
}
