// Package client speaks to the operators' API, for the command line.
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
	"os"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Client asks one server.
type Client struct {
	server string
	token  fleet.Secret
	http   *http.Client
}

// New returns a client for a server's address (default http://127.0.0.1:7080)
// with the token in a file.
func New(server, tokenFile string) (*Client, error) {
	if server == "" {
		server = "http://127.0.0.1:7080"
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("server %q is no address: want for example http://127.0.0.1:7080 (--server or SHUTTERFLEET_SERVER)", server)
	}
	c := &Client{server: strings.TrimRight(server, "/"), http: &http.Client{Timeout: 5 * time.Minute}}
	if tokenFile == "" {
		return nil, errors.New("no token: set SHUTTERFLEET_TOKEN_FILE (or --token-file) to a file that holds one; the first is admin.token in the scheduler's data directory")
	}
	b, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	c.token = fleet.Secret(strings.TrimSpace(string(b)))
	return c, nil
}

// Do sends in as JSON (raw bytes as they are) and reads the answer into out.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	kind := ""
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/octet-stream"
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		body, kind = bytes.NewReader(b), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from %s: is the scheduler running there? (--server or SHUTTERFLEET_SERVER): %w", c.server, errors.Unwrap(err))
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(io.LimitReader(res.Body, 256<<20))
	if err != nil {
		return fmt.Errorf("read from %s: %w", c.server, err)
	}
	if res.StatusCode >= 300 {
		return problem(res.StatusCode, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// problem reads an RFC 9457 answer.
func problem(code int, b []byte) error {
	var p struct {
		Detail string
		Errors []struct{ Message, Location string }
	}
	if json.Unmarshal(b, &p) != nil || p.Detail == "" {
		return fmt.Errorf("the server answers %d: %.200s", code, b)
	}
	text := p.Detail
	for _, e := range p.Errors {
		if !strings.Contains(text, e.Message) {
			text += "; " + strings.TrimPrefix(e.Location, "body.") + ": " + e.Message
		}
	}
	return errors.New(text)
}

// All reads all pages of a list.
func All[T any](ctx context.Context, c *Client, path string, query url.Values, most int) ([]T, error) {
	out := []T{}
	for {
		var page struct {
			Items []T
			Next  string
		}
		if err := c.Do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == "" || most > 0 && len(out) >= most {
			if most > 0 && len(out) > most {
				out = out[:most]
			}
			return out, nil
		}
		query.Set("after", page.Next)
	}
}
