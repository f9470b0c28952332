package swarm_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// BenchmarkSwarm gives one agent orders that are due, 1024 at a time, and
// acknowledges its reports at once: the processor time per capture is that of
// the agent, the transport, and a centre that does nothing else.
func BenchmarkSwarm(b *testing.B) {
	c, s, end := open(b, swarm.Options{})
	l := <-c.links
	now := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	began := now()
	const at = 1024
	for n := 0; b.Loop(); n++ {
		t := time.Now()
		os := make([]fleet.Order, at)
		for i := range os {
			os[i] = order(n*at+i, t, t.Add(time.Minute))
		}
		l.instruct(orders(os...))
		for left := at; left > 0; {
			m := <-l.heard
			r := m.GetReport()
			if r == nil {
				continue
			}
			cs, err := wire.ParseCaptures(r.GetPacked())
			if err != nil {
				b.Fatal(err)
			}
			left -= len(cs)
			l.ack(r.GetBatch())
		}
	}
	b.ReportMetric(float64(now()-began)/float64(s.Stats().Captured), "cpu-ns/capture")
	end()
}

// BenchmarkOutcome makes and packs a record.
func BenchmarkOutcome(b *testing.B) {
	t := time.Now()
	o := order(1, t, t.Add(time.Minute))
	var buf []byte
	for b.Loop() {
		buf = wire.AppendCapture(buf[:0], swarm.Outcome(&o, t))
	}
}
