package edge_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// loopback keeps discovery where the town is.
func loopback() ([]net.Interface, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	return []net.Interface{*lo}, nil
}

// TestAWholeAgent: a town of virtual cameras, an agent and a centre, all over
// real sockets. The agent finds the cameras, photographs each and delivers it.
func TestAWholeAgent(t *testing.T) {
	town, err := camtest.New(camtest.Options{})
	must(t, err)
	start(t, town.Run)
	<-town.Ready()
	c, err := uplinktest.New()
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	start(t, func(ctx context.Context) error { return c.Serve(ctx, ln) })
	var logs strings.Builder
	var mu sync.Mutex
	log := slog.New(slog.NewJSONHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logs.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	e, err := edge.New(edge.Options{DataDir: t.TempDir(), Server: ln.Addr().String(), SiteKey: c.Key.Text(), Interfaces: loopback, MachineListen: "127.0.0.1:0", Version: "test", Tags: []string{"roof"}, Log: log})
	must(t, err)
	stop := start(t, e.Run)
	await := func(what string, ok func(uplinktest.State) bool) uplinktest.State {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
		defer cancel()
		s, err := c.Await(ctx, ok)
		if err != nil {
			st := e.Stats()
			t.Fatalf("waiting until %s: %v; %d outcomes, %d thumbnails, %d devices told and %d known, %d pending, line %+v",
				what, err, len(s.Outcomes), s.Thumbs, len(s.Devices), len(st.Devices), st.OutboxPending, st.Line)
		}
		return s
	}
	hello := await("it is connected", func(s uplinktest.State) bool { return s.Connected }).Hellos[0]
	if c := hello.GetCodecs(); !slices.Contains(c, "jpeg") || !slices.Contains(c, "png") || hello.GetCores() == 0 || !slices.Equal(hello.GetTags(), []string{"roof"}) {
		t.Errorf("the hello is %v", hello)
	}

	login := town.Credentials()
	list := &wire.Cameras{Version: 1, Full: true}
	var orders []fleet.Order
	now := fleet.At(time.Now())
	names := make(map[fleet.CameraID]string)
	for i, cam := range town.Cameras() {
		id := fleet.CameraID(i + 1)
		names[id] = cam.Name
		config := &wire.CameraConfig{Id: uint64(id), Device: "epr:" + cam.EPR, Credentials: []*wire.Credential{{User: login.User, Password: login.Password.Reveal(), Version: 1}}}
		for p, url := range map[fleet.Protocol]string{fleet.Snapshot: cam.Snapshot, fleet.MJPEG: cam.MJPEG} {
			if url != "" {
				config.Endpoints = append(config.Endpoints, &wire.Endpoint{Protocol: string(p), Url: url})
			}
		}
		if len(config.Endpoints) == 0 {
			continue // H.264 alone: whether it can be read depends on the machine
		}
		list.Put = append(list.Put, config)
		// One after the other, and with all the time: the town draws its pictures
		// on this machine too, and both may be under the race detector.
		orders = append(orders, fleet.Order{Occurrence: fleet.Occurrence{Camera: id, Schedule: 1, Nominal: now + 500 + fleet.Instant(i)*50}, Deadline: now + 600_000, Retries: 1})
	}
	c.Push(&wire.Instruction{Body: &wire.Instruction_Cameras{Cameras: list}})
	c.Push(uplinktest.Orders(orders...))
	s := await("each camera is photographed", func(s uplinktest.State) bool { return len(s.Outcomes) >= len(orders) })
	for _, o := range orders {
		got := s.Outcomes[o.Occurrence]
		if got.Outcome != fleet.Captured || got.Reading.Width == 0 || got.Reading.Fingerprint.PDQ == (fleet.PDQ{}) {
			t.Errorf("%s: %v(%v) %s, %dx%d", names[o.Camera], got.Outcome, got.Cause, got.Detail, got.Reading.Width, got.Reading.Height)
		}
	}
	await("their thumbnails and the inventory are there", func(s uplinktest.State) bool { return s.Thumbs >= len(orders) && len(s.Devices) >= len(town.Cameras()) })

	for path, want := range map[string]string{"livez": "ok", "readyz": "ok", "metrics": "agent_line_connected 1"} {
		res, err := http.Get(fmt.Sprintf("http://%s/%s", e.MachineAddr(), path))
		must(t, err)
		b, err := io.ReadAll(res.Body)
		must(t, err)
		must(t, res.Body.Close())
		if res.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
			t.Errorf("/%s: %d %s", path, res.StatusCode, b)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, e.Drain(ctx))
	if st := e.Stats(); st.OutboxPending != 0 || st.OrdersHeld != 0 {
		t.Errorf("after Drain %d outcomes are pending and %d orders held", st.OutboxPending, st.OrdersHeld)
	}
	stop()
	must(t, e.Close())
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range []string{login.Password.Reveal(), c.Key.Text().Reveal()} {
		if strings.Contains(logs.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestErrorsSayWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for want, o := range map[string]edge.Options{
		"want HOST:PORT":       {Server: "centre"},
		"keys create":          {Server: "centre:7443", SiteKey: "mistyped"},
		"--machine-listen":     {Server: "centre:7443", MachineListen: taken.Addr().String()},
		"open agent store":     {Server: "centre:7443", DataDir: "/dev/null/x"},
		"give it a site key (": {Server: "centre:7443"},
	} {
		if o.DataDir == "" {
			o.DataDir = t.TempDir()
		}
		e, err := edge.New(o)
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err = e.Run(ctx)
			cancel()
			must(t, e.Close())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want it to say %q", err, want)
		}
	}
}
