package runner_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// block is a street in virtual time: 100 cameras that are well, of 50 to 550 ms
// each, and what stands beside them.
func block(t *testing.T, beside int, ill camera) (p99 time.Duration, r *bench) {
	t.Helper()
	const well, rounds, every = 100, 4, 10 * time.Second
	r = newRunner(t, func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
		if tg.Camera > well {
			return ill(ctx, tg)
		}
		time.Sleep(50*time.Millisecond + time.Duration(tg.Camera)*5000*time.Microsecond)
		return healthy(ctx, tg)
	}, runner.Options{Rand: rand.New(rand.NewPCG(1, 2)).Int64N})
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	first := fleet.At(time.Now()).Add(time.Second)
	for round := range rounds {
		for n := range well + beside {
			id := fleet.CameraID(n + 1)
			nominal := first.Add(time.Duration(round)*every + time.Duration(n)*every/time.Duration(well+beside))
			ch := r.submit(fleet.Order{Occurrence: fleet.Occurrence{Camera: id, Schedule: 1, Nominal: nominal}, Deadline: nominal.Add(every)}, nil)
			all.Go(func() {
				c := <-ch
				if int(id) > well || round < 2 { // the first pictures find out who is who
					return
				}
				if c.Outcome != fleet.Captured {
					t.Errorf("camera %d: %v %s", id, ends(c), c.Detail)
				}
				mu.Lock()
				took = append(took, c.At.Sub(nominal))
				mu.Unlock()
			})
		}
	}
	all.Wait()
	slices.Sort(took)
	return took[len(took)*99/100], r
}

// Cameras that are silent, slow or huge do not touch their neighbours.
func TestBulkhead(t *testing.T) {
	alone := time.Duration(0)
	synctest.Test(t, func(t *testing.T) { alone, _ = block(t, 0, nil) })
	for name, ill := range map[string]camera{
		"silent": silent,
		"slow": func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
			select {
			case <-time.After(9 * time.Second):
				return healthy(ctx, tg)
			case <-ctx.Done():
				return silent(ctx, tg)
			}
		},
		"huge": func(ctx context.Context, _ fleet.Target) (fleet.Frame, error) {
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
			}
			return fleet.Frame{}, fleet.Errorf(fleet.CauseTooLarge, "16 MiB and no end")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p99, r := block(t, 200, ill)
			t.Logf("%s: p99 %v beside %v alone; %+v", name, p99, alone, r.Concurrency())
			if p99 > alone*12/10 {
				t.Errorf("%s neighbours: p99 %v, want less than 1.2 times %v", name, p99, alone)
			}
		})
	}
}

// A thousand cameras that are waited for, as for key frames, overlap; and a site
// that bears 100 at a time is brought back to what it bears.
func TestConcurrencyAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open, most, bears := 0, 0, 1<<20
		r := newRunner(t, func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
			mu.Lock()
			open++
			most = max(most, open)
			over := open > bears
			mu.Unlock()
			defer func() { mu.Lock(); open--; mu.Unlock() }()
			time.Sleep(2 * time.Second)
			if over {
				return fleet.Frame{}, fleet.Errorf(fleet.CauseRefused, "503")
			}
			return healthy(ctx, tg)
		}, runner.Options{Failures: 1000, Readers: 1024}) // or how many wait to be decoded decides
		round := func(n int) (got int) {
			var all []<-chan fleet.Capture
			for i := range n {
				o := at(1, 0, 60*time.Second)
				o.Camera = fleet.CameraID(i + 1)
				all = append(all, r.submit(o, nil))
			}
			for _, ch := range all {
				if c := <-ch; c.Outcome == fleet.Captured {
					got++
				}
			}
			return got
		}
		if n := round(2000); n != 2000 || most < 500 {
			t.Errorf("%d of 2000 pictures, %d at a time", n, most)
		}
		for range 3 {
			round(2000)
		}
		if most != 1024 {
			t.Errorf("%d at a time, want 1024", most)
		}
		mu.Lock()
		bears = 100
		mu.Unlock()
		for range 6 {
			round(500)
		}
		got := round(500)
		c := r.Concurrency()
		if c.Limit > 150 || c.Cuts == 0 || c.LastCut.IsZero() || got < 450 {
			t.Errorf("a site that bears %d: %d of 500 pictures, %+v", bears, got, c)
		}
	})
}

// Retries wait as long as the camera itself takes, and longer the more often it
// failed, up to the cap.
func TestRetriesFollowTheCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ill := false
		var asked []time.Duration
		r := newRunner(t, func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
			if ill {
				return fleet.Frame{}, fleet.Errorf(fleet.CauseRefused, "no")
			}
			time.Sleep(800 * time.Millisecond)
			return healthy(ctx, tg)
		}, runner.Options{Backoff: 200 * time.Millisecond, MaxBackoff: 5 * time.Second, Failures: 1000, Rand: func(n int64) int64 {
			asked = append(asked, time.Duration(n-1))
			return n - 1
		}})
		for range 3 {
			run(t, r, after(time.Second, 20*time.Second))
		}
		if s := r.Camera(1); !s.Proven || s.Latency != 800*time.Millisecond || s.Failures != 0 {
			t.Errorf("state %+v", s)
		}
		ill = true
		for range 2 {
			o := after(time.Second, 40*time.Second)
			o.Retries = 2
			run(t, r, o)
		}
		want := "[800ms 1.6s 1.6s 3.2s]"
		if fmt.Sprint(asked) != want || r.Camera(1).Failures != 2 {
			t.Errorf("ceilings %v, want %s; %+v", asked, want, r.Camera(1))
		}
	})
}
