package admin

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

// watch opens an event stream over a real connection and returns its lines.
func watch(t *testing.T, d *door, query string, header map[string]string) (lines func() string, end func()) {
	t.Helper()
	srv := httptest.NewServer(d.a.Handler())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/api/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	r.Host = "127.0.0.1:7080" // the cookie is named after the port
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	s := bufio.NewScanner(res.Body)
	lines = func() string {
		for s.Scan() {
			if l := s.Text(); l != "" && !strings.HasPrefix(l, "retry") {
				return l
			}
		}
		return "end"
	}
	end = func() {
		cancel()
		res.Body.Close()
		srv.Close()
	}
	t.Cleanup(end)
	if l := lines(); l != ": watching" {
		t.Fatalf("the stream begins with %q", l)
	}
	return lines, end
}

// ends wants a stream to be over after a few heartbeats that were on their way.
func ends(t *testing.T, lines func() string) {
	t.Helper()
	for n := 0; lines() != "end"; n++ {
		if n == 100 {
			t.Fatal("the stream goes on")
		}
	}
}

func TestEvents(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{})
	lines, end := watch(t, d, "", map[string]string{"Authorization": "Bearer viewer"})
	d.f.Tell(scheduler.Event{Kind: "capture", Camera: 1, Site: "home"})
	d.f.Tell(scheduler.Event{Kind: "resync"})
	for _, want := range []string{
		"event: capture", `data: {"kind":"capture","camera":"` + fleet.CameraID(1).String() + `","site":"home"}`,
		"event: resync", `data: {"kind":"resync"}`,
	} {
		if got := lines(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	end()
}

// TestEventsCoalesce sends a burst: its first event comes at once, and each
// other kind once.
func TestEventsCoalesce(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{})
	lines, end := watch(t, d, "?coalesce=200", map[string]string{"Authorization": "Bearer viewer"})
	began := time.Now()
	for range 50 {
		for cam := range 3 {
			d.f.Tell(scheduler.Event{Kind: "capture", Camera: fleet.CameraID(cam + 1)})
		}
	}
	d.f.Tell(scheduler.Event{Kind: "books"})
	n := 0
	for l := ""; l != "event: books"; {
		if l = lines(); l == "end" {
			t.Fatal("the stream ended")
		}
		if l == "event: capture" {
			n++
		}
	}
	// The first at once, and one of each camera for every window that the burst
	// takes on a slow machine.
	if took := time.Since(began); n < 3 || n > 1+3*(int(took/(200*time.Millisecond))+1) {
		t.Errorf("%d events for 150 captures of 3 cameras in %v", n, took)
	}
	end()
}

func TestEventsEndWithTheSession(t *testing.T) {
	now := epoch.Time()
	d := newDoor(t, admintest.New(), Options{Heartbeat: 10 * time.Millisecond, SessionFor: time.Hour, Now: func() time.Time { return now }})
	h := d.signIn("viewer")
	lines, end := watch(t, d, "", h)
	if l := lines(); l != ": still here" {
		t.Fatalf("no heartbeat: %q", l)
	}
	if w := d.do(request{method: "POST", path: "/logout", header: h}); w.Code != http.StatusSeeOther {
		t.Fatal(w.Code)
	}
	ends(t, lines)
	end()
}

// TestEventsEndWithTheToken revokes a token under open streams, of a browser
// and of a program.
func TestEventsEndWithTheToken(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{Heartbeat: 10 * time.Millisecond})
	for name, header := range map[string]map[string]string{"session": d.signIn("viewer"), "bearer": {"Authorization": "Bearer viewer"}} {
		d.f.Revoke("")
		lines, end := watch(t, d, "", header)
		if l := lines(); l != ": still here" {
			t.Fatalf("%s: no heartbeat: %q", name, l)
		}
		d.f.Revoke("viewer")
		ends(t, lines)
		end()
	}
}
