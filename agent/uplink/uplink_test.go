package uplink_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/agent"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleClock() {
	c := uplink.NewClock(0, 0, false)
	t1 := c.Local()
	t2 := t1.Add(3*time.Second + 10*time.Millisecond) // the centre is 3 s ahead, 10 ms away
	c.Measure(t1, t2, t2, t1.Add(20*time.Millisecond))
	fmt.Println(c.Now().Sub(c.Local()).Round(time.Second), c.Bound() < 11*time.Millisecond)
	// Output: 3s true
}

// bench is one centre and one agent's line over loopback.
type bench struct {
	*uplinktest.Centre
	t     testing.TB
	store *store.Store
	line  *uplink.Uplink
	addr  string
	ctx   context.Context
}

func newBench(t testing.TB) *bench {
	t.Helper()
	c, err := uplinktest.New()
	must(t, err)
	s, err := store.Open(filepath.Join(t.TempDir(), "agent.db"), store.Options{Codec: store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}, Linger: -1})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return &bench{Centre: c, t: t, store: s, ctx: ctx}
}

// serve starts the centre and returns how to cut it off.
func (b *bench) serve() (cut func()) {
	b.t.Helper()
	if b.addr == "" {
		b.addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", b.addr)
	must(b.t, err)
	b.addr = ln.Addr().String()
	return b.start(func(ctx context.Context) error { return b.Serve(ctx, ln) })
}

// connect starts the line.
func (b *bench) connect(change func(*uplink.Options)) (stop func()) {
	b.t.Helper()
	o := uplink.Options{Server: b.addr, SiteKey: b.Key.Text(), Hostname: "box", Version: "test"}
	if change != nil {
		change(&o)
	}
	var err error
	b.line, err = uplink.New(agent.Memory{Store: b.store}, o)
	must(b.t, err)
	return b.start(b.line.Run)
}

func (b *bench) start(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once atomic.Bool
	stop = func() {
		if once.Swap(true) {
			return
		}
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) await(what string, ok func(uplinktest.State) bool) uplinktest.State {
	b.t.Helper()
	s, err := b.Await(b.ctx, ok)
	if err != nil {
		b.t.Fatalf("waiting until %s: %v; the line is %+v", what, err, b.line.Status())
	}
	return s
}

func (b *bench) outcomes(n int) func(uplinktest.State) bool {
	return func(s uplinktest.State) bool { return len(s.Outcomes) >= n }
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connected(s uplinktest.State) bool { return s.Connected }
func stored(s uplinktest.State) bool    { return s.Connected && s.Unstored == 0 }

func orders(n int) (out []fleet.Order) {
	now := fleet.At(time.Now())
	for i := range n {
		out = append(out, fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(i%5 + 1), Schedule: 1, Nominal: now + fleet.Instant(i)}, Deadline: now + 60_000})
	}
	return out
}

func (b *bench) finish(os []fleet.Order) {
	b.t.Helper()
	for _, o := range os {
		must(b.t, b.store.Finish(b.ctx, fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Captured, At: o.Nominal + 5}))
	}
}

// TestLongInventory: a list beyond what the centre takes in one message comes
// in parts.
func TestLongInventory(t *testing.T) {
	b := newBench(t)
	b.serve()
	stop := b.connect(nil)
	defer stop()
	devices := make([]fleet.Device, 4096)
	for i := range devices {
		devices[i] = fleet.Device{Key: fmt.Sprint("epr:", i), Name: strings.Repeat("x", 2048)}
	}
	b.line.SetDevices(devices)
	b.await("all devices are told", func(s uplinktest.State) bool { return len(s.Devices) == len(devices) })
}

func TestOneCaptureOverTheLine(t *testing.T) {
	b := newBench(t)
	b.serve()
	stop := b.connect(nil)
	b.await("it is connected", connected)
	os := orders(3)
	b.Push(uplinktest.Cameras(5))
	b.Push(uplinktest.Orders(os...))
	b.Push(uplinktest.Recall(os[2]))
	b.await("instructions are stored", stored)
	if held, _, _ := b.store.Counts(); held != 2 || len(b.store.Cameras().Put) != 5 {
		t.Fatalf("%d orders and %d cameras held, want 2 and 5", held, len(b.store.Cameras().Put))
	}
	if c := b.store.Cameras().Put[0]; !slices.Equal(c.Same, []string{"mac:1"}) || !slices.Equal(c.Apart, []string{"mac:2"}) {
		t.Errorf("decisions did not come through: %+v", c)
	}
	b.line.SetDevices([]fleet.Device{{Key: "epr:1"}})
	c := fleet.Capture{Occurrence: os[0].Occurrence, Outcome: fleet.Captured}
	c.Reading.Thumbnail = []byte("jpeg")
	b.line.Show(c)
	b.finish(os[:2])
	s := b.await("all is reported", func(s uplinktest.State) bool { return len(s.Outcomes) == 2 && s.Thumbs == 1 && len(s.Devices) == 1 })
	if s.Duplicates != 0 || s.Enrolled != 1 {
		t.Errorf("%d duplicates, %d enrolments", s.Duplicates, s.Enrolled)
	}
	for pending := 1; pending > 0; _, _, pending = b.store.Counts() { // the answers arrive
		select {
		case <-b.store.Settled():
		case <-b.ctx.Done():
			t.Fatalf("%d outcomes pending after the centre stored them", pending)
		}
	}
	stop()
	b.connect(func(o *uplink.Options) { o.SiteKey = "" }) // the identity is kept
	s = b.await("it is back", func(s uplinktest.State) bool { return len(s.Hellos) == 2 })
	if h := s.Hellos[1]; h.GetNonce() != 3 || h.GetCamerasVersion() != 1 {
		t.Errorf("the second hello is %v", h)
	}
}

// TestStandingAbleAndLoad: what the agent can do and holds is in its hello, and
// what it bears comes now and then.
func TestStandingAbleAndLoad(t *testing.T) {
	b := newBench(t)
	b.serve()
	load := fleet.Load{CPU: 0.5, Pressure: 0.25, RSS: 3 << 20, Available: 1 << 30, Capturing: 4, Queue: 5, Decoding: 6, Capacity: 7.5}
	options := func(o *uplink.Options) {
		o.Able = fleet.Able{Codecs: []fleet.Codec{fleet.JPEG, fleet.H264}, Cores: 2, Tags: []string{"roof", "gpu"}}
		o.Load, o.LoadEvery = func() fleet.Load { return load }, 10*time.Millisecond
	}
	stop := b.connect(options)
	s := b.await("it bears something", func(s uplinktest.State) bool { return len(s.Loads) > 0 })
	if l := s.Loads[0]; l.GetCpu() != 0.5 || l.GetPressure() != 0.25 || l.GetRssBytes() != 3<<20 || l.GetAvailableBytes() != 1<<30 ||
		l.GetCapturing() != 4 || l.GetQueue() != 5 || l.GetDecoding() != 6 || l.GetCapacity() != 7.5 {
		t.Errorf("the load is %v", l)
	}
	if h := s.Hellos[0]; !slices.Equal(h.GetCodecs(), []string{"jpeg", "h264"}) || h.GetCores() != 2 || !slices.Equal(h.GetTags(), []string{"roof", "gpu"}) ||
		len(h.GetAnalyzers()) != 0 || h.GetStandingVersion() != 0 {
		t.Errorf("the hello is %v", h)
	}
	b.Push(&wire.Instruction{Body: &wire.Instruction_Standing{Standing: &wire.Standing{Version: 1, Tasks: []byte{9}}}})
	b.Push(uplinktest.Standing(6, 0, nil))
	s = b.await("the second is stored, and the first is not", func(s uplinktest.State) bool { return s.Unstored == 1 && s.Nonce == 2 })
	if v := b.store.StandingVersion(); v != 6 {
		t.Errorf("standing orders of version %d are held", v)
	}
	stop()
	b.connect(options)
	s = b.await("it is back", func(s uplinktest.State) bool { return len(s.Hellos) == 2 })
	if v := s.Hellos[1].GetStandingVersion(); v != 6 {
		t.Errorf("the second hello tells of version %d", v)
	}
}

// TestForeignInstructionsAreRefused: replayed, reordered, expired, forged,
// fenced and misdirected instructions change nothing.
func TestForeignInstructionsAreRefused(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.connect(nil)
	s := b.await("it is connected", connected)
	good := func() *wire.Instruction {
		in := uplinktest.Orders(orders(1)...)
		in.Agent, in.Nonce, in.Fence, in.ExpiresMs = string(s.Agent), 10, 5, time.Now().Add(time.Minute).UnixMilli()
		return in
	}
	must(t, b.PushRaw(good(), nil))
	for held := 0; held != 1; held, _, _ = b.store.Counts() {
		select {
		case <-b.store.OrdersChanged():
		case <-b.ctx.Done():
			t.Fatal("the good instruction was not taken")
		}
	}
	_, forger, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	bad := map[string]func(*wire.Instruction){
		"replayed":       func(*wire.Instruction) {},
		"reordered":      func(in *wire.Instruction) { in.Nonce = 9 },
		"expired":        func(in *wire.Instruction) { in.Nonce, in.ExpiresMs = 11, time.Now().Add(-time.Second).UnixMilli() },
		"fenced":         func(in *wire.Instruction) { in.Nonce, in.Fence = 11, 4 },
		"another's":      func(in *wire.Instruction) { in.Nonce, in.Agent = 11, "agent-99" },
		"of a new kind":  func(in *wire.Instruction) { in.Nonce, in.Body = 11, nil },
		"cut short":      func(in *wire.Instruction) { in.Nonce = 11; in.GetOrders().Packed = in.GetOrders().GetPacked()[:9] },
		"a forged order": nil,
	}
	want := uint64(0)
	for name, change := range bad {
		in, key := good(), ed25519.PrivateKey(nil)
		if change == nil {
			in.Nonce, key = 11, forger
		} else {
			change(in)
		}
		must(t, b.PushRaw(in, key))
		if name != "of a new kind" && name != "cut short" {
			want++
		}
	}
	in := good()
	in.Nonce = 12
	other := orders(1)[0]
	other.Camera = 77
	in.Body = uplinktest.Orders(other).Body
	must(t, b.PushRaw(in, nil)) // comes after all of these
	for n := uint64(0); n != 12; n, _ = b.store.Last() {
		select {
		case <-b.store.OrdersChanged():
		case <-b.ctx.Done():
			t.Fatal("the last instruction was not taken")
		}
	}
	if held, _, _ := b.store.Counts(); held != 2 {
		t.Errorf("%d orders are held, want 2", held)
	}
	if got := b.line.Status().Refused; got != want {
		t.Errorf("%d instructions were refused, want %d", got, want)
	}
}

func TestNothingIsLostWhenAcksAreDropped(t *testing.T) {
	b := newBench(t)
	n := 0
	b.DropAck = func(uint64) bool { n++; return n%3 == 1 }
	cut := b.serve()
	b.connect(func(o *uplink.Options) { o.Batch, o.AckTimeout = 8, 100*time.Millisecond })
	b.await("it is connected", connected)
	os := orders(400)
	b.Push(uplinktest.Orders(os...))
	b.await("orders are stored", stored)
	b.finish(os[:200])
	cut()
	b.finish(os[200:])
	b.serve()
	s := b.await("all is reported", b.outcomes(400))
	for _, o := range os {
		if s.Outcomes[o.Occurrence].Outcome != fleet.Captured {
			t.Fatalf("%v is missing", o.Occurrence)
		}
	}
	for pending := 1; pending > 0; _, _, pending = b.store.Counts() {
		select {
		case <-b.store.Settled():
		case <-b.ctx.Done():
			t.Fatalf("%d outcomes are never acknowledged", pending)
		}
	}
	if b.line.Status().Resent == 0 {
		t.Error("a third of the answers was lost, and no report was sent again")
	}
}

// TestNewestFirst: after a cut the present is visible before the backlog.
func TestNewestFirst(t *testing.T) {
	b := newBench(t)
	cut := b.serve()
	b.connect(func(o *uplink.Options) { o.Batch, o.Window = 10, 1 })
	b.await("it is connected", connected)
	os := orders(100)
	b.Push(uplinktest.Orders(os...))
	b.await("orders are stored", stored)
	cut()
	b.await("it is cut off", func(s uplinktest.State) bool { return !s.Connected })
	b.finish(os)
	b.serve()
	s := b.await("all is reported", b.outcomes(100))
	want := slices.Clone(os)
	slices.Reverse(want)
	for i, o := range s.Arrival {
		if o != want[i].Occurrence {
			t.Fatalf("outcome %d to arrive is %v, want %v", i, o, want[i].Occurrence)
		}
	}
	if s.Duplicates > 0 {
		t.Errorf("%d duplicates", s.Duplicates)
	}
}

func TestASilentCentreIsLeft(t *testing.T) {
	b := newBench(t)
	var mute atomic.Bool
	b.Mute = mute.Load
	b.serve()
	b.connect(func(o *uplink.Options) { o.Heartbeat = 50 * time.Millisecond })
	b.await("it is connected", func(s uplinktest.State) bool { return s.Probes > 2 })
	mute.Store(true)
	b.await("a new link", func(s uplinktest.State) bool { return len(s.Hellos) > 1 })
	mute.Store(false)
	n := len(b.State().Hellos)
	b.await("the clock is measured on the new one", func(s uplinktest.State) bool { return len(s.Hellos) >= n && s.Probes > 6 })
}

func TestEnrolmentIsPinned(t *testing.T) {
	b, other := newBench(t), newBench(t)
	b.serve()
	for name, c := range map[string]struct {
		key  fleet.SiteKey
		want string
		is   error
	}{
		"another centre's key": {other.Key, "not the one that made the site key", nil},
		"a used key":           {fleet.SiteKey{Site: "s", CA: b.Key.CA}, "used up", uplink.ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := uplink.Enrol(b.ctx, b.addr, c.key, "box", "test")
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("Enrol = %v, want %q", err, c.want)
			}
		})
	}
	if b.State().Enrolled != 0 {
		t.Error("an agent was enrolled")
	}
	if _, err := uplink.New(nil, uplink.Options{Server: "centre"}); err == nil {
		t.Error("a server without a port was accepted")
	}
}

// TestInstructionsBeforeTheClock: an agent that was away finds hundreds of
// instructions before the answer to its first probe, and takes them all.
func TestInstructionsBeforeTheClock(t *testing.T) {
	b := newBench(t)
	cut := b.serve()
	stop := b.connect(nil)
	b.await("it is connected", connected)
	stop()
	cut()
	for _, o := range orders(300) {
		b.Push(uplinktest.Orders(o))
	}
	b.serve()
	b.connect(nil)
	b.await("all instructions are stored", stored)
	if held, _, _ := b.store.Counts(); held != 300 {
		t.Errorf("%d orders held, want 300", held)
	}
}
