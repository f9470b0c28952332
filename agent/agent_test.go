package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/agent"
	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

func TestMain(m *testing.M) {
	if os.Getenv(envStore) != "" {
		os.Exit(process())
	}
	goleak.VerifyTestMain(m)
}

// cams is a Grabber and Reader whose pictures cost some time, and keeps when
// each was taken.
type cams struct {
	looks fleet.Fingerprint // of each frame
	cost  time.Duration

	mu    sync.Mutex
	taken map[fleet.CameraID][]time.Time
	seen  []string // what the inventory was told of scenes
}

func (c *cams) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	c.mu.Lock()
	if c.taken == nil {
		c.taken = make(map[fleet.CameraID][]time.Time)
	}
	c.taken[t.Camera] = append(c.taken[t.Camera], time.Now())
	c.mu.Unlock()
	select {
	case <-time.After(c.cost):
		return fleet.Frame{Origin: fleet.Origin{Protocol: fleet.Snapshot}}, nil
	case <-ctx.Done():
		return fleet.Frame{}, fleet.Errorf(fleet.CauseTimeout, "%w", ctx.Err())
	}
}

func (c *cams) Read(context.Context, fleet.Frame) (fleet.Reading, error) {
	return fleet.Reading{Width: 640, Height: 360, Codec: fleet.JPEG, Thumbnail: []byte("jpeg"), Fingerprint: c.looks}, nil
}

// lan is an inventory that knows one device.
type lan struct {
	changed chan struct{}
	cams    *cams
}

func (l lan) Run(ctx context.Context) error        { <-ctx.Done(); return nil }
func (l lan) Devices() []fleet.Device              { return []fleet.Device{{Key: "epr:1", State: fleet.DeviceOK}} }
func (l lan) Changed() <-chan struct{}             { return l.changed }
func (l lan) SetKnown([]fleet.Target)              {}
func (l lan) SetCredentials(c []fleet.Credentials) {}

func (l lan) Seen(device string, phash uint64) {
	l.cams.mu.Lock()
	defer l.cams.mu.Unlock()
	l.cams.seen = append(l.cams.seen, fmt.Sprintf("%s %x", device, phash))
}

// pipes is a network in memory: a listener and its dialer, with a switch.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.close.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// town is one centre and one agent over a network in memory.
type town struct {
	*uplinktest.Centre
	t    *testing.T
	path string
	cams *cams

	// The box's clock, and its boot; nil is the machine's, and unknown.
	wall  func() time.Time
	since func() (string, time.Duration, bool)

	mu  sync.Mutex
	net *pipes // nil while cut
}

func newTown(t *testing.T) *town {
	t.Helper()
	c, err := uplinktest.New()
	must(t, err)
	return &town{Centre: c, t: t, path: filepath.Join(t.TempDir(), "agent.db"), cams: &cams{cost: 300 * time.Millisecond}}
}

func (w *town) dial(ctx context.Context, _ string) (net.Conn, error) {
	w.mu.Lock()
	p := w.net
	w.mu.Unlock()
	if p == nil {
		return nil, errors.New("no route")
	}
	mine, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return mine, nil
	case <-p.done:
		return nil, errors.New("no route")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve connects the centre and returns how to cut it off.
func (w *town) serve() (cut func()) {
	p := newPipes()
	w.mu.Lock()
	w.net = p
	w.mu.Unlock()
	return w.start(func(ctx context.Context) error {
		err := w.Serve(ctx, p)
		w.mu.Lock()
		w.net = nil
		w.mu.Unlock()
		return err
	})
}

// boot starts an agent and returns how to stop it.
func (w *town) boot() (a *agent.Agent, s *store.Store, stop func()) {
	w.t.Helper()
	s, a, err := w.build(uplink.Options{Server: "centre:7443", SiteKey: w.Key.Text(), Dial: w.dial})
	must(w.t, err)
	halt := w.start(a.Run)
	return a, s, func() {
		halt()
		must(w.t, s.Close())
	}
}

func (w *town) build(o uplink.Options) (*store.Store, *agent.Agent, error) {
	s, err := store.Open(w.path, store.Options{Codec: store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}, Now: w.wall, Boot: w.since})
	if err != nil {
		return nil, nil, err
	}
	wall := w.wall
	if wall == nil {
		wall = time.Now
	}
	offset, bound, known := s.Clock()
	clock := uplink.NewClockOf(wall, offset, bound, known)
	o.Clock = clock
	u, err := uplink.New(agent.Memory{Store: s}, o)
	if err != nil {
		return nil, nil, err
	}
	a, err := agent.New(s, w.cams, w.cams, runner.Options{}, u, lan{make(chan struct{}, 1), w.cams}, agent.Options{})
	return s, a, err
}

// run is an agent over the real network, until ctx is done.
func (w *town) run(ctx context.Context, server string, key fleet.Secret) error {
	s, a, err := w.build(uplink.Options{Server: server, SiteKey: key, AckTimeout: 500 * time.Millisecond})
	if err != nil {
		return err
	}
	return errors.Join(a.Run(ctx), s.Close())
}

func (w *town) start(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

func (w *town) await(what string, ok func(uplinktest.State) bool) uplinktest.State {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
	defer cancel()
	s, err := w.Await(ctx, ok)
	if err != nil {
		w.t.Fatalf("waiting until %s: %v", what, err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestScenesAreTold: the inventory hears what a device shows, unless the frame
// shows nothing.
func TestScenesAreTold(t *testing.T) {
	for quality, want := range map[uint8]int{90: 1, 49: 0} {
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t)
			w.cams.looks = fleet.Fingerprint{PHash: 0xabc, PDQQuality: quality}
			cut := w.serve()
			_, _, stop := w.boot()
			w.await("it is connected", func(s uplinktest.State) bool { return s.Connected })
			w.Push(uplinktest.Cameras(1))
			at := fleet.At(time.Now()) + 5000
			w.Push(uplinktest.Orders(fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 1, Nominal: at}, Deadline: at + 8000}))
			w.await("it is reported", func(s uplinktest.State) bool { return len(s.Outcomes) == 1 })
			stop()
			cut()
			if got := w.cams.seen; len(got) != want || want > 0 && got[0] != "device-1 abc" {
				t.Errorf("quality %d: seen %q", quality, got)
			}
		})
	}
}

func stored(s uplinktest.State) bool { return s.Connected && s.Unstored == 0 }

// TestHeldOrdersThroughACutAndARestart: an agent is cut off for ten minutes and
// restarted in the middle of them. The orders it held are captured on time,
// and each is reported once.
func TestHeldOrdersThroughACutAndARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		cut := w.serve()
		_, _, stop := w.boot()
		w.await("it is connected", func(s uplinktest.State) bool { return s.Connected })
		w.Push(uplinktest.Cameras(5))
		var orders []fleet.Order
		start := fleet.At(time.Now())
		for n := range 60 { // one in 10 s, for ten minutes
			at := start + fleet.Instant(n+1)*10_000
			orders = append(orders, fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(n%5 + 1), Schedule: 1, Nominal: at}, Deadline: at + 8000})
		}
		w.Push(uplinktest.Orders(orders...))
		w.await("orders are stored", stored)
		cut()
		time.Sleep(5*time.Minute + 2*time.Second)
		stop()
		time.Sleep(time.Second)
		_, s, stop := w.boot()
		time.Sleep(5 * time.Minute)
		if held, _, pending := s.Counts(); held != 0 || pending != 60 {
			t.Errorf("after the cut %d orders are held and %d outcomes pending, want 0 and 60", held, pending)
		}
		cut = w.serve()
		st := w.await("all is reported", func(s uplinktest.State) bool { return len(s.Outcomes) == 60 })
		if st.Duplicates != 0 {
			t.Errorf("%d outcomes were reported twice", st.Duplicates)
		}
		for _, o := range orders {
			c := st.Outcomes[o.Occurrence]
			if c.Outcome != fleet.Captured || c.Delay > 100*time.Millisecond || c.At < o.Nominal {
				t.Errorf("%v: %v(%v), %v late", o.Occurrence, c.Outcome, c.Cause, c.Delay)
			}
		}
		stop()
		cut()
		w.cams.mu.Lock()
		defer w.cams.mu.Unlock()
		n := 0
		for _, at := range w.cams.taken {
			n += len(at)
		}
		if n != 60 {
			t.Errorf("%d pictures were taken for 60 orders", n)
		}
	})
}

// TestClockOfTheCentreRules: an agent whose box is 3 s slow captures at the
// centre's time, not at its own, and never early.
func TestClockOfTheCentreRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		const ahead = 3 * time.Second
		w.Now = func() time.Time { return time.Now().Add(ahead) }
		cut := w.serve()
		_, _, stop := w.boot()
		w.await("the clock is measured", func(s uplinktest.State) bool { return s.Probes > 3 })
		w.Push(uplinktest.Cameras(1))
		at := fleet.At(w.Now()) + 5000
		o := fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 1, Nominal: at}, Deadline: at + 8000}
		w.Push(uplinktest.Orders(o))
		st := w.await("it is reported", func(s uplinktest.State) bool { return len(s.Outcomes) == 1 })
		c := st.Outcomes[o.Occurrence]
		w.cams.mu.Lock()
		taken := fleet.At(w.cams.taken[1][0].Add(ahead))
		w.cams.mu.Unlock()
		if taken < at || taken > at+50 || c.Bound > 50*time.Millisecond || c.At < at {
			t.Errorf("taken at %v for %v, bound %v", taken, at, c.Bound)
		}
		stop()
		cut()
	})
}

// TestDrain: due orders are finished and delivered, later ones stay.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		cut := w.serve()
		a, s, stop := w.boot()
		w.await("it is connected", func(s uplinktest.State) bool { return s.Connected })
		w.Push(uplinktest.Cameras(2))
		now := fleet.At(time.Now())
		for _, in := range []fleet.Instant{0, 1, 60_000} {
			o := fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: fleet.ScheduleID(in), Nominal: now + in}, Deadline: now + in + 8000}
			w.Push(uplinktest.Orders(o))
		}
		w.await("orders are stored", stored)
		must(t, a.Drain(t.Context()))
		if held, _, pending := s.Counts(); held != 1 || pending != 0 || len(w.State().Outcomes) != 2 {
			t.Errorf("after Drain %d orders held, %d outcomes pending, %d delivered, want 1, 0, 2", held, pending, len(w.State().Outcomes))
		}
		stop()
		cut()
	})
}

// TestBacklogDrainsTenTimesFaster: what piled up in an hour, 25 cameras at one
// picture in 10 s, is delivered in less than six minutes. It is real time here
// that counts: the drain is bound by disk and processor, not by waiting.
func TestBacklogDrainsTenTimesFaster(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "agent.db"), store.Options{Codec: store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}, Linger: -1})
	must(t, err)
	const n, rate = 9000, 2.5
	var orders []fleet.Order
	for i := range n {
		orders = append(orders, fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(i%25 + 1), Schedule: 1, Nominal: fleet.Instant(i)}, Deadline: 1 << 60})
	}
	must(t, s.Begin(t.Context(), orders, 1, 1))
	s.Due(n, n)
	var all sync.WaitGroup
	for part := range 64 {
		all.Go(func() {
			for i := part; i < n; i += 64 {
				if err := s.Finish(t.Context(), fleet.Capture{Occurrence: orders[i].Occurrence, Outcome: fleet.Captured, At: orders[i].Nominal}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	c, err := uplinktest.New()
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	u, err := uplink.New(agent.Memory{Store: s}, uplink.Options{Server: ln.Addr().String(), SiteKey: c.Key.Text()})
	must(t, err)
	w := &town{Centre: c, t: t}
	cut := w.start(func(ctx context.Context) error { return c.Serve(ctx, ln) })
	began := time.Now()
	stop := w.start(u.Run)
	for pending := n; pending > 0; _, _, pending = s.Counts() {
		<-s.Settled()
	}
	took := time.Since(began)
	ratio := n / took.Seconds() / rate
	t.Logf("%d outcomes in %v: %.0f/s, %.0f times the rate they arose", n, took.Round(time.Millisecond), n/took.Seconds(), ratio)
	if ratio < 10 {
		t.Errorf("the backlog drains at %.1f times the rate it arose, want at least 10", ratio)
	}
	stop()
	cut()
	must(t, s.Close())
	if d := c.State().Duplicates; d > 0 {
		t.Errorf("%d duplicates", d)
	}
}

func Example() {
	// The store serves the uplink through Memory; cmd/internal/edge shows a
	// whole agent being built, with real cameras.
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(filepath.Join(dir, "agent.db"), store.Options{Codec: store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = uplink.New(agent.Memory{Store: s}, uplink.Options{Server: "centre.example:7443", SiteKey: "mistyped"})
	fmt.Println(err)
	fmt.Println(s.Close())
	// Output:
	// not a site key: want the text that `shutterfleet keys create` printed, sfk1.…
	// <nil>
}
