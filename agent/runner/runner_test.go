package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// camera is a Grabber that does what its function says.
type camera func(ctx context.Context, t fleet.Target) (fleet.Frame, error)

func (c camera) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) { return c(ctx, t) }

type reader struct{ err error }

func (r reader) Read(context.Context, fleet.Frame) (fleet.Reading, error) {
	return fleet.Reading{Width: 640, Height: 360}, r.err
}

func healthy(context.Context, fleet.Target) (fleet.Frame, error) {
	return fleet.Frame{Codec: fleet.JPEG, Origin: fleet.Origin{Protocol: fleet.Snapshot}}, nil
}

func silent(ctx context.Context, _ fleet.Target) (fleet.Frame, error) {
	<-ctx.Done()
	return fleet.Frame{}, fleet.Errorf(fleet.CauseTimeout, "silent until the deadline")
}

func after(wait, deadline time.Duration) fleet.Order {
	n := fleet.At(time.Now()).Add(wait)
	return fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 2, Nominal: n}, Deadline: n.Add(deadline)}
}

// bench is a runner at work, and what became of its orders.
type bench struct {
	*runner.Runner
	t testing.TB

	mu   sync.Mutex
	done map[fleet.Occurrence]chan fleet.Capture
	wild int // outcomes nobody asked for, or a second time
}

func newRunner(t testing.TB, c camera, o runner.Options) *bench { return newReader(t, c, reader{}, o) }

func newReader(t testing.TB, c camera, rd runner.Reader, o runner.Options) *bench {
	t.Helper()
	b := &bench{t: t, done: make(map[fleet.Occurrence]chan fleet.Capture)}
	o.Done = func(c fleet.Capture) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if ch := b.done[c.Occurrence]; ch != nil {
			delete(b.done, c.Occurrence)
			ch <- c
			return
		}
		b.wild++
	}
	if o.Targets == nil {
		o.Targets = func(id fleet.CameraID) (fleet.Target, bool) { return fleet.Target{Camera: id}, true }
	}
	var err error
	if b.Runner, err = runner.New(c, rd, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := b.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.wild > 0 {
			t.Errorf("%d outcomes came for orders that were not given, or had one", b.wild)
		}
	})
	return b
}

// submit gives an order, and returns where its outcome comes.
func (b *bench) submit(o fleet.Order, s *calendar.Schedule) <-chan fleet.Capture {
	ch := make(chan fleet.Capture, 1)
	b.mu.Lock()
	b.done[o.Occurrence] = ch
	b.mu.Unlock()
	b.Submit(o, s)
	return ch
}

func run(t testing.TB, b *bench, o fleet.Order) fleet.Capture {
	t.Helper()
	return <-b.submit(o, nil)
}

func schedule(t testing.TB, change func(*calendar.Spec)) *calendar.Schedule {
	t.Helper()
	s := calendar.Spec{Name: "s", Select: "*", Every: calendar.Duration(10 * time.Second)}
	change(&s)
	c, err := s.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func Example() {
	done := make(chan fleet.Capture, 1)
	r, err := runner.New(camera(healthy), reader{}, runner.Options{
		Targets: func(id fleet.CameraID) (fleet.Target, bool) { return fleet.Target{Camera: id}, true },
		Done:    func(c fleet.Capture) { done <- c },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- r.Run(ctx) }()
	r.Submit(after(10*time.Millisecond, time.Second), nil)
	c := <-done
	cancel()
	fmt.Println(c.Outcome, c.Attempts, c.Protocol, c.Reading.Width, <-stopped)
	// Output: captured 1 snapshot 640 context canceled
}

func TestNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at time.Time
		r := newRunner(t, func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
			at = time.Now()
			return healthy(ctx, tg)
		}, runner.Options{})
		o := after(90*time.Second, 5*time.Second)
		c := run(t, r, o)
		if at.Before(o.Nominal.Time()) || at.Sub(o.Nominal.Time()) > time.Millisecond {
			t.Errorf("grabbed at %v, the nominal time is %v", at, o.Nominal)
		}
		if c.Outcome != fleet.Captured || c.Delay < 0 || c.Delay > time.Millisecond {
			t.Errorf("Run = %+v", c)
		}
	})
}

func TestOutcomes(t *testing.T) {
	refused := fleet.Errorf(fleet.CauseRefused, "no")
	for _, c := range []struct {
		name     string
		wait     time.Duration
		retries  uint8
		grab     camera
		read     error
		outcome  fleet.Outcome
		cause    fleet.Cause
		attempts uint8
	}{
		{"healthy", 0, 0, healthy, nil, fleet.Captured, "", 1},
		{"silent", 0, 0, silent, nil, fleet.Failed, fleet.CauseTimeout, 1},
		{"silent with retries", 0, 2, silent, nil, fleet.Failed, fleet.CauseTimeout, 3},
		{"refused", 0, 3, func(context.Context, fleet.Target) (fleet.Frame, error) { return fleet.Frame{}, refused }, nil, fleet.Failed, fleet.CauseRefused, 4},
		{"wrong login", 0, 3, func(context.Context, fleet.Target) (fleet.Frame, error) {
			return fleet.Frame{}, fmt.Errorf("grab: %w", fleet.Errorf(fleet.CauseUnauthorized, "no"))
		}, nil, fleet.Failed, fleet.CauseUnauthorized, 1},
		{"corrupt", 0, 0, healthy, fleet.Errorf(fleet.CauseCorrupt, "no"), fleet.Failed, fleet.CauseCorrupt, 1},
		{"our own fault", 0, 0, healthy, errors.New("oh"), fleet.Failed, fleet.CauseInternal, 1},
		{"too late", -time.Minute, 0, healthy, nil, fleet.Missed, fleet.CauseDeadline, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReader(t, c.grab, reader{c.read}, runner.Options{})
				o := after(c.wait, 30*time.Second)
				o.Retries = c.retries
				began := time.Now()
				got := run(t, r, o)
				if got.Outcome != c.outcome || got.Cause != c.cause || got.Attempts != c.attempts || (got.Detail == "") != (c.cause == "") {
					t.Errorf("Run = %v(%v) %q after %d tries, want %v(%v) after %d", got.Outcome, got.Cause, got.Detail, got.Attempts, c.outcome, c.cause, c.attempts)
				}
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("it took %v, the deadline was 30s", took)
				}
			})
		})
	}
}

func TestDetailIsCutAtACharacter(t *testing.T) {
	r := newRunner(t, func(context.Context, fleet.Target) (fleet.Frame, error) {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseProtocol, "x%s", strings.Repeat("ü", 300))
	}, runner.Options{})
	c := run(t, r, after(0, time.Second))
	if len(c.Detail) > fleet.MaxDetail || !strings.HasSuffix(c.Detail, "ü…") {
		t.Errorf("the detail has %d bytes and ends in %q", len(c.Detail), c.Detail[len(c.Detail)-8:])
	}
}

// TestBreaker: a camera that keeps failing is left alone, is tried once when
// its time is over, and is well again at its first picture.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		grabs, ill := 0, true
		r := newRunner(t, func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
			grabs++
			if ill {
				return fleet.Frame{}, fleet.Errorf(fleet.CauseRefused, "no")
			}
			return healthy(ctx, tg)
		}, runner.Options{Failures: 3, Open: 10 * time.Second, MaxOpen: 20 * time.Second})
		skipped := 0
		for range 60 { // two minutes
			if c := run(t, r, after(2*time.Second, time.Second)); c.Outcome == fleet.Skipped && c.Cause == fleet.CauseBackoff {
				skipped++
			}
		}
		if grabs < 8 || grabs > 20 || grabs+skipped != 60 {
			t.Errorf("%d grabs and %d skipped of 60 orders", grabs, skipped)
		}
		ill = false
		for run(t, r, after(2*time.Second, time.Second)).Outcome != fleet.Captured {
		}
		if c := run(t, r, after(2*time.Second, time.Second)); c.Outcome != fleet.Captured {
			t.Errorf("after its first picture: %v(%v)", c.Outcome, c.Cause)
		}
	})
}

// TestSilentCamerasDoNotHoldTheOthers: a camera that gave a picture once never
// waits for the silent ones, however many there are.
func TestSilentCamerasDoNotHoldTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most, now atomic.Int32
		r := newRunner(t, func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			if tg.Camera > 20 {
				return silent(ctx, tg)
			}
			time.Sleep(100 * time.Millisecond)
			return healthy(ctx, tg)
		}, runner.Options{Width: 20, Failures: 1000})
		var mu sync.Mutex
		proven := make(map[fleet.CameraID]bool)
		for range 8 {
			var all sync.WaitGroup
			for id := fleet.CameraID(50); id > 0; id-- {
				o := after(time.Second, 10*time.Second)
				o.Camera = id
				mu.Lock()
				known := proven[id]
				mu.Unlock()
				all.Go(func() {
					c := run(t, r, o)
					if known && (c.Outcome != fleet.Captured || c.Delay > 400*time.Millisecond) {
						t.Errorf("camera %d: %v(%v) after %v", id, c.Outcome, c.Cause, c.Delay)
					}
					if c.Outcome == fleet.Captured {
						mu.Lock()
						proven[id] = true
						mu.Unlock()
					}
				})
			}
			all.Wait()
		}
		if len(proven) != 20 || most.Load() > 20 {
			t.Errorf("%d of 20 cameras gave a picture in 8 rounds, with up to %d grabs at once", len(proven), most.Load())
		}
	})
}

func TestOneGrabPerCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Int32
		r := newRunner(t, func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
			if now.Add(1) > 1 {
				t.Error("two grabs at once on one camera")
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return healthy(ctx, tg)
		}, runner.Options{})
		var all sync.WaitGroup
		for n := range 4 {
			o := after(0, 10*time.Second)
			o.Schedule, o.Nominal = fleet.ScheduleID(n), o.Nominal+fleet.Instant(n)*1000
			all.Go(func() { run(t, r, o) })
		}
		all.Wait()
	})
}

// TestStopLeavesTheOrder: an order without an outcome when Run ends has none.
func TestStopLeavesTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := runner.New(camera(silent), reader{}, runner.Options{
			Targets: func(id fleet.CameraID) (fleet.Target, bool) { return fleet.Target{Camera: id}, true },
			Done:    func(c fleet.Capture) { t.Errorf("an outcome: %+v", c) },
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Submit(after(0, time.Minute), nil)
		r.Submit(after(time.Hour, time.Minute), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v", err)
		}
	})
}

// BenchmarkQueue takes an order in and one to its outcome, while 5,000 others
// wait for their turn.
func BenchmarkQueue(b *testing.B) {
	done := make(chan struct{}, 1)
	r, err := runner.New(camera(healthy), reader{}, runner.Options{
		Width: 1, Unproven: 1, Suspects: 1,
		Targets: func(id fleet.CameraID) (fleet.Target, bool) { return fleet.Target{Camera: id}, true },
		Done:    func(fleet.Capture) { done <- struct{}{} },
	})
	if err != nil {
		b.Fatal(err)
	}
	n := fleet.At(time.Now())
	camera := fleet.CameraID(0)
	submit := func() {
		camera++
		r.Submit(fleet.Order{Occurrence: fleet.Occurrence{Camera: camera, Schedule: 1, Nominal: n}, Deadline: n.Add(24 * time.Hour)}, nil)
	}
	for range 5000 {
		submit()
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	b.ReportAllocs()
	for b.Loop() {
		submit()
		<-done
	}
	cancel()
	for {
		select {
		case <-done:
		case <-ended:
			return
		}
	}
}
