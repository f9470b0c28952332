package wheel_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// TestMonth drives a wheel by the clock for thirty days: a driver that sleeps
// to Next fires every task of every period at its instant, to the millisecond.
func TestMonth(t *testing.T) {
	const tasks, days = 1200, 30
	// Minutes would be many; these have common and odd divisors.
	every := func(key uint32) fleet.Instant {
		return []fleet.Instant{3_600_000, 7_200_001, 86_400_000, 5_417_233}[key%4]
	}
	phase := func(key uint32) fleet.Instant {
		return 1 + fleet.Instant(uint64(key)*2654435761%uint64(every(key)))
	}
	synctest.Test(t, func(t *testing.T) {
		start := fleet.At(time.Now())
		end := start.Add(days * 24 * time.Hour)
		w := wheel.New(start)
		for k := range uint32(tasks) {
			w.Add(start+phase(k), k)
		}
		fired := make([]fleet.Instant, tasks) // how often
		wakes := 0
		for {
			next, ok := w.Next()
			if !ok || next > end {
				break
			}
			wakes++
			time.Sleep(time.Until(next.Time()))
			now := fleet.At(time.Now())
			w.Advance(now, func(batch []wheel.Due) {
				for _, d := range batch {
					if want := start + phase(d.Key) + fired[d.Key]*every(d.Key); d.At != want || d.At != now {
						t.Fatalf("task %d of %d fired at %d, want %d", d.Key, d.At, now, want)
					}
					fired[d.Key]++
					w.Add(d.At+every(d.Key), d.Key)
				}
			})
		}
		total := 0
		for k := range uint32(tasks) {
			if want := (end-start-phase(k))/every(k) + 1; fired[k] != want {
				t.Errorf("task %d fired %d times, want %d", k, fired[k], want)
			}
			total += int(fired[k])
		}
		// A wake-up that finds nothing due moves a coarse slot: there are few.
		if wakes > total+total/2 {
			t.Errorf("%d wake-ups for %d fires", wakes, total)
		}
	})
}
