package agent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Environment of an agent that a test runs as a process of its own.
const (
	envStore  = "SHUTTERFLEET_AGENT_STORE"
	envServer = "SHUTTERFLEET_AGENT_SERVER"
	envKey    = "SHUTTERFLEET_AGENT_KEY"
)

// process is an agent to be killed.
func process() int {
	w := &town{path: os.Getenv(envStore), cams: &cams{cost: 5 * time.Millisecond}}
	if err := w.run(context.Background(), os.Getenv(envServer), fleet.Secret(os.Getenv(envKey))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestKilledTwentyTimes: an agent is killed twenty times during a run of 2,000
// occurrences, with 5 % of the acknowledgements dropped. Every occurrence has
// exactly one outcome at the centre, and each is a picture.
func TestKilledTwentyTimes(t *testing.T) {
	kills, n := 20, 2000
	if testing.Short() {
		kills, n = 4, 400
	}
	c, err := uplinktest.New()
	must(t, err)
	var acks atomic.Int64
	c.DropAck = func(uint64) bool { return acks.Add(1)%20 == 0 }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &town{Centre: c, t: t, path: filepath.Join(t.TempDir(), "agent.db")}
	cut := w.start(func(ctx context.Context) error { return c.Serve(ctx, ln) })
	defer cut()
	exe, err := os.Executable()
	must(t, err)
	boot := func() *exec.Cmd {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), envStore+"="+w.path, envServer+"="+ln.Addr().String(), envKey+"="+c.Key.Text().Reveal())
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		return cmd
	}
	await := func(what string, ok func(uplinktest.State) bool) uplinktest.State {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		s, err := c.Await(ctx, ok)
		if err != nil {
			t.Fatalf("waiting until %s: %v: %d outcomes, %d instructions not acknowledged, connected %v", what, err, len(s.Outcomes), s.Unstored, s.Connected)
		}
		return s
	}
	cmd := boot()
	await("it is connected", func(s uplinktest.State) bool { return s.Connected })
	c.Push(uplinktest.Cameras(5))
	var orders []fleet.Order
	for life := range kills {
		// Each life has work of its own, one order in 4 ms: on a slow machine, too,
		// there is something left to be killed at.
		done := len(c.State().Outcomes)
		start := fleet.At(time.Now()) + 300
		for range n / kills {
			i := len(orders) // of all
			at := start + fleet.Instant((i-life*n/kills)*4)
			orders = append(orders, fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(i%5 + 1), Schedule: fleet.ScheduleID(20*life + i%20), Nominal: at}, Deadline: at + 600_000})
		}
		c.Push(uplinktest.Orders(orders[len(orders)-n/kills:]...))
		// It has worked since its start, and is in the middle of something.
		some := done + 1 + rand.IntN(n/kills-1)
		await("it works", func(s uplinktest.State) bool { return len(s.Outcomes) >= some })
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		cmd = boot()
	}
	s := await("all is reported", func(s uplinktest.State) bool { return len(s.Outcomes) == n })
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	for _, o := range orders {
		if got := s.Outcomes[o.Occurrence]; got.Outcome != fleet.Captured || got.At < o.Nominal {
			t.Errorf("%v: %v(%v) %s at %v", o.Occurrence, got.Outcome, got.Cause, got.Detail, got.At)
		}
	}
	t.Logf("%d kills, %d occurrences: %d outcomes, reported again %d times, %d links", kills, n, len(s.Outcomes), s.Duplicates, len(s.Hellos))
}
