//go:build !race

package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/centre"
	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// house is a whole in one process, over real sockets and in real time: a town
// of cameras, an agent, a line that can be cut, and a centre that can restart.
type house struct {
	t      *testing.T
	town   *camtest.Town
	dir    string
	doors  centre.Options
	line   *line
	cen    *centre.Centre
	stop   func() // the centre
	api    *client.Client
	edge   *edge.Edge
	began  fleet.Instant
	byName map[string]fleet.CameraID
}

// small are cameras with little pictures, without logins: the tests share two
// processors with their town.
func small(names ...string) (out []camtest.Camera) {
	for _, n := range names {
		out = append(out, camtest.Camera{Name: n, Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, Open: true, Width: 320, Height: 184})
	}
	return out
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// background runs until the returned function is called.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// newHouse has a town and a centre that knows its cameras, each with its name
// as a label, and no agent.
func newHouse(t *testing.T, cameras []camtest.Camera) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), began: fleet.At(time.Now()), byName: map[string]fleet.CameraID{}}
	var err error
	h.town, err = camtest.New(camtest.Options{Cameras: cameras, NoDiscovery: true})
	check(t, err)
	background(t, h.town.Run)
	<-h.town.Ready()
	agents, admin := doorsOf(t, h.town)
	h.doors = centre.Options{DataDir: filepath.Join(h.dir, "centre"), AgentsListen: agents, AdminListen: admin}
	h.startCentre()
	h.line = newLine(t, h.doors.AgentsListen)
	h.api, err = client.New(client.Options{Server: "http://" + h.doors.AdminListen, TokenFile: filepath.Join(h.doors.DataDir, "admin.token")})
	check(t, err)
	if c := h.town.Credentials(); c.User != "" {
		h.send(http.MethodPost, "credentials", map[string]any{"site": "lab", "user": c.User, "password": c.Password.Reveal()}, nil)
	}
	for _, c := range h.town.Cameras() {
		h.add(c.Name, slices.DeleteFunc([]string{c.Snapshot, c.MJPEG, c.RTSP}, func(s string) bool { return s == "" })[0])
	}
	return h
}

func (h *house) add(name, url string) {
	h.t.Helper()
	var v admin.Camera
	h.send(http.MethodPost, "cameras", map[string]any{"site": "lab", "url": url, "name": name, "labels": map[string]string{"is": name}}, &v)
	h.byName[name] = v.ID
}

func (h *house) startCentre() {
	h.t.Helper()
	var err error
	h.cen, err = centre.New(h.t.Context(), h.doors)
	check(h.t, err)
	h.stop = background(h.t, h.cen.Run)
}

// startAgent runs an agent that has what the centre knows so far as standing
// orders when it returns.
func (h *house) startAgent(o edge.Options) {
	h.t.Helper()
	key, err := h.cen.CreateKey(h.t.Context(), scheduler.NewKey{Site: "lab", Approve: true})
	check(h.t, err)
	o.DataDir, o.Server, o.SiteKey, o.NoDiscovery = filepath.Join(h.dir, "agent"), h.line.addr(), key, true
	h.edge, err = edge.New(o)
	check(h.t, err)
	h.t.Cleanup(func() { check(h.t, h.edge.Close()) })
	background(h.t, h.edge.Run)
	wait(h.t, "standing orders", func() bool {
		a, err := client.All[admin.Agent](h.t.Context(), h.api, "agents")
		check(h.t, err)
		return len(a) == 1 && a[0].Connected && a[0].Standing
	})
}

func (h *house) send(method, path string, in, out any) {
	h.t.Helper()
	check(h.t, h.api.Send(h.t.Context(), method, path, in, out))
}

// apply replaces all schedules.
func (h *house) apply(yaml string) {
	h.t.Helper()
	check(h.t, h.api.Post(h.t.Context(), "schedules/apply", url.Values{"prune": {"true"}}, "application/yaml", []byte("schedules: ["+yaml+"]"), nil))
}

// captures lists the outcomes so far, in the order they came in: an agent that
// has several tells the newest first.
func (h *house) captures() []admin.Capture {
	h.t.Helper()
	out, err := client.List[admin.Capture](h.t.Context(), h.api, "captures", nil, 0)
	check(h.t, err)
	slices.Reverse(out)
	return out
}

// taken tells a capture from what is none by somebody's fault: on a busy machine
// a picture may take longer than a second, and then the next one is let go.
func taken(c admin.Capture) bool {
	return c.Outcome == fleet.Captured || c.Outcome == fleet.Skipped && c.Cause == fleet.CauseOverlap && c.Agent != ""
}

// finish takes all schedules away, waits until nothing is in flight, and
// compares the outcomes with the calendar.
func (h *house) finish() []admin.Capture {
	h.t.Helper()
	h.apply(`{name: never, select: "*", once: "2020-01-01T00:00:00Z"}`)
	var b struct{ fleet.Books }
	wait(h.t, "all outcomes", func() bool {
		check(h.t, h.api.Get(h.t.Context(), "books", nil, &b))
		return b.InFlight == 0 && h.edge.Stats().OutboxPending == 0
	})
	r, err := h.cen.Scheduler.Audit(h.t.Context(), h.began-60_000, fleet.At(time.Now()))
	check(h.t, err)
	if r.Unaccounted() != 0 || r.Expected == 0 || r.Expected != r.Stored || uint64(r.Expected) != b.Issued {
		h.t.Errorf("audit %+v\nbooks %+v", r, b.Books)
	}
	cs := h.captures()
	seen := map[string]bool{}
	for _, c := range cs {
		if seen[c.Occurrence] {
			h.t.Errorf("%s has two outcomes", c.Occurrence)
		}
		seen[c.Occurrence] = true
		if c.Outcome == fleet.Captured && c.At+fleet.Instant(c.BoundMS)+1 < c.Nominal {
			h.t.Errorf("%s was captured early, at %s", c.Occurrence, c.At)
		}
	}
	if len(cs) != r.Stored {
		h.t.Errorf("%d outcomes are listed, %d stored", len(cs), r.Stored)
	}
	return cs
}

// line carries the agent's connections to the centre until it is cut.
type line struct {
	ln net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	l := &line{ln: ln, to: to, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		l.setCut(true)
		wg.Wait()
	})
	return l
}

func (l *line) addr() string { return l.ln.Addr().String() }

func (l *line) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.conns[near], l.conns[far] = true, true
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range [][2]net.Conn{{near, far}, {far, near}} {
		wg.Go(func() {
			_, _ = io.Copy(p[0], p[1]) // ends with either connection
			_, _ = near.Close(), far.Close()
		})
	}
	wg.Wait()
	l.mu.Lock()
	delete(l.conns, near)
	delete(l.conns, far)
	l.mu.Unlock()
}

// setCut breaks all connections and refuses new ones, or lets them through.
func (l *line) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.conns {
			_ = c.Close()
		}
	}
}
