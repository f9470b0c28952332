package wheelbench

import (
	"math"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// Own is the wheel of this project.
func Own() Kind {
	return Kind{
		Name: "shutterfleet",
		New: func(e Env) Subject {
			o := newOwn(e)
			o.ended.Go(o.drive)
			return o
		},
		Step: func(e Env) Stepper { return newOwn(e) },
	}
}

// own drives the wheel as the scheduler does: everything under one lock, and a
// goroutine that sleeps to the next busy instant.
type own struct {
	env   Env
	wake  chan struct{} // cap 1: the driver must look at the wheel again
	done  chan struct{}
	ended sync.WaitGroup

	mu      sync.Mutex
	wheel   *wheel.Wheel
	handles []wheel.Handle
	until   fleet.Instant // the driver sleeps until then
}

func newOwn(e Env) *own {
	return &own{
		env: e, wake: make(chan struct{}, 1), done: make(chan struct{}),
		wheel: wheel.New(0), handles: make([]wheel.Handle, e.Tasks), until: math.MaxInt64,
	}
}

func (o *own) Add(key uint32, at int64) {
	o.mu.Lock()
	o.handles[key] = o.wheel.Add(fleet.Instant(at), key)
	sooner := fleet.Instant(at) < o.until
	o.mu.Unlock()
	if sooner {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

func (o *own) Cancel(key uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wheel.Cancel(o.handles[key])
}

func (o *own) Close() {
	close(o.done)
	o.ended.Wait()
}

// Step moves a wheel without a driver.
func (o *own) Step(now int64) {
	o.mu.Lock()
	o.wheel.Advance(fleet.Instant(now), o.fire)
	o.mu.Unlock()
}

func (o *own) fire(batch []wheel.Due) {
	for _, d := range batch {
		if next := o.env.Fire(d.Key, int64(d.At)); next >= 0 {
			o.handles[d.Key] = o.wheel.Add(fleet.Instant(next), d.Key)
		}
	}
}

func (o *own) drive() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		o.mu.Lock()
		o.wheel.Advance(fleet.Instant(o.env.Clock.Now()), o.fire)
		next, busy := o.wheel.Next()
		wait := time.Hour
		if busy {
			wait = min(o.env.Clock.Until(int64(next)), wait)
		} else {
			next = math.MaxInt64
		}
		o.until = next
		o.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-o.wake:
		case <-o.done:
			return
		}
	}
}
