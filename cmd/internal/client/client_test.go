package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

func tokenFile(t *testing.T) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(f, []byte("operator\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func dial(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(client.Options{Server: srv.URL, TokenFile: tokenFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTokenStaysWithItsServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other server was asked with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	c := dial(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	if err := c.Get(t.Context(), "books", nil, nil); err == nil {
		t.Error("a redirect was followed")
	}
}

func TestStrangeAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		says   string
	}{
		"a web page":         {200, "<html>", "does not answer as a scheduler"},
		"a proxy's error":    {502, "Bad Gateway", "is --server right?"},
		"a problem":          {409, `{"title":"Conflict","detail":"changed meanwhile"}`, "changed meanwhile"},
		"a problem's fields": {422, `{"detail":"validation failed","errors":[{"message":"too long","location":"body.name"}]}`, "validation failed; name: too long"},
		"a title alone":      {500, `{"title":"Internal Server Error"}`, "Internal Server Error"},
		"a huge answer":      {200, `{"x":"` + strings.Repeat("x", 65<<20) + `"}`, "ask for less"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body)) // the client hangs up on a huge one
			})
			var into map[string]any
			err := c.Get(t.Context(), "books", nil, &into)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %q", err, tc.says)
			}
			if e, ok := errors.AsType[*client.Error](err); ok && e.Status != tc.status {
				t.Errorf("status %d", e.Status)
			}
		})
	}
}

// TestCursorThatDoesNotMove must not read for ever.
func TestCursorThatDoesNotMove(t *testing.T) {
	asked := 0
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, `{"items":[1],"next":"same"}`)
	})
	got, err := client.List[int](t.Context(), c, "captures", url.Values{}, 0)
	if err != nil || len(got) != 2 || asked != 2 {
		t.Errorf("%v, %v after %d requests", got, err, asked)
	}
}

// TestLostAnswers cuts connections: what creates is asked for once more, under
// the same key; nothing else is, and nobody is asked twice who is not there.
func TestLostAnswers(t *testing.T) {
	// Buffered beyond what any case sends. A connection that is cut tells the
	// test nothing of what its handler wrote: channels do.
	keys := make(chan string, 16)
	sent := func() (all []string) {
		for len(keys) > 0 {
			all = append(all, <-keys)
		}
		return all
	}
	cutting := func(cuts int32) http.HandlerFunc {
		var n atomic.Int32
		return func(w http.ResponseWriter, r *http.Request) {
			keys <- r.Header.Get("Idempotency-Key")
			if n.Add(1) > cuts {
				fmt.Fprint(w, `{"id":"job-1"}`)
				return
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}
	}
	// Each on connections of its own: on one that was used before, net/http
	// repeats by itself what has such a key.
	var into struct{ ID string }
	err := dial(t, cutting(1)).Create(t.Context(), "jobs", nil, map[string]string{"select": "*"}, &into)
	first := sent()
	if err != nil || into.ID != "job-1" || len(first) != 2 || first[0] == "" || first[0] != first[1] {
		t.Errorf("%v, %+v with keys %q", err, into, first)
	}
	err = dial(t, cutting(5)).Create(t.Context(), "jobs", nil, nil, &into)
	if got := sent(); err == nil || len(got) != 2 || got[0] == first[0] {
		t.Errorf("%v with keys %q", err, got)
	}
	err = dial(t, cutting(5)).Send(t.Context(), http.MethodPatch, "sites/home", map[string]int{"burst": 4}, &into)
	if got := sent(); err == nil || len(got) != 1 || got[0] != "" {
		t.Errorf("%v with keys %q", err, got)
	}
	err = dial(t, func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Idempotency-Key")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"detail":"no"}`)
	}).Create(t.Context(), "jobs", nil, nil, nil)
	if got := sent(); err == nil || len(got) != 1 {
		t.Errorf("refused: %v with keys %q", err, got)
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	gone, err := client.New(client.Options{Server: srv.URL, TokenFile: tokenFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Create(t.Context(), "jobs", nil, nil, nil); err == nil || !strings.Contains(err.Error(), "no scheduler answers at "+srv.URL) {
		t.Errorf("nobody there: %v", err)
	}
}

func Example() {
	f := admintest.New()
	f.Add(1, scheduler.StatusOK)
	f.Add(2, scheduler.StatusFailed)
	srv := httptest.NewServer(admin.New(f, admin.Options{}).Handler())
	defer srv.Close()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("viewer"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(client.Options{Server: srv.URL, TokenFile: token})
	if err != nil {
		fmt.Println(err)
		return
	}
	cameras, err := client.List[admin.Camera](context.Background(), c, "cameras", nil, 0)
	for _, cam := range cameras {
		fmt.Printf("%s: %s, last %s\n", cam.Name, cam.Status, cam.LastCapture.Outcome)
	}
	fmt.Println(err)
	// Output:
	// camera 1: ok, last captured
	// camera 2: failed, last failed
	// <nil>
}
