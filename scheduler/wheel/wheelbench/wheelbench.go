// Package wheelbench measures timers: the wheel of this project, and peers
// through the same code.
//
//	Config ─► Measure(Kind) ─► add, memory, GC, cancel ─► live ─► hot ─► herd ─► simulated ─► Figures
//	             one process per kind and round; a line of JSON after each part
//
// What makes it fair, and where it cannot be:
//   - All are driven through Subject and told their tasks by key. Each keeps its
//     handles in an array that it makes before memory is counted: bytes_per_task
//     is what arming a task adds (timer, closure, place in a slot), rss_mb is all
//     of it. An owner of peers' timers also keeps each task's next instant, for
//     they do not hand it to the callback.
//   - The wheel runs as the scheduler runs it: one goroutine sleeps to the next
//     busy instant and advances under the lock that Add and Cancel take. It calls
//     back from that goroutine, batch by batch; the peers start a goroutine for
//     each callback, which is how they are made. Both pay for a reading of the
//     clock per fire in the live part and for one atomic counter.
//   - Times per operation are CPU time of the whole process, so neighbours on the
//     machine do not count, and the garbage collector's share does.
//   - A fire before its instant, by however little, is early. Peers that cut the
//     time to their tick are measured as they are, at the finest tick they have.
//   - The simulated part moves time by hand. Only the wheel can be measured so.
package wheelbench

import (
	"fmt"
	"time"
)

// A Subject is timers under measure, telling tasks apart by keys below
// Env.Tasks. Its methods may be called from any goroutine, but for one key by
// one at a time.
type Subject interface {
	// Add arms the task for at, in milliseconds of Env.Clock, at least some
	// hundreds from now. When it fires, Env.Fire says when to arm it again.
	Add(key uint32, at int64)
	// Cancel takes the task out and reports whether it waited.
	Cancel(key uint32) bool
	// Close ends what the subject started.
	Close()
}

// A Stepper is a Subject whose time is moved by hand.
type Stepper interface {
	Subject
	Step(now int64)
}

// Env is what a Subject works in.
type Env struct {
	Tasks int
	Clock Clock
	// Fire is called when a task's time has come, from any goroutine. It
	// returns when to arm the task again, a negative number for never.
	Fire func(key uint32, at int64) (next int64)
}

// Clock counts from zero by the monotonic clock.
type Clock struct{ zero time.Time }

// NewClock returns a clock that begins now.
func NewClock() Clock { return Clock{time.Now()} }

// Since returns the time passed.
func (c Clock) Since() time.Duration { return time.Since(c.zero) }

// Now returns the milliseconds passed, cut to whole ones.
func (c Clock) Now() int64 { return c.Since().Milliseconds() }

// Time returns the instant as a time.
func (c Clock) Time(at int64) time.Time {
	return c.zero.Add(time.Duration(at) * time.Millisecond)
}

// Until returns the time left until at.
func (c Clock) Until(at int64) time.Duration {
	return time.Duration(at)*time.Millisecond - c.Since()
}

// Kind is one way to make a Subject.
type Kind struct {
	Name string
	New  func(Env) Subject
	Step func(Env) Stepper // nil where time cannot be moved by hand
}

// Config says what to measure. All is required.
type Config struct {
	Tasks int           `json:"tasks"`
	Rate  int           `json:"rate"` // fires per second of the live part; tasks recur every Tasks/Rate
	For   time.Duration `json:"for"`  // length of the live part, ns in JSON
}

// MaxTasks bounds Tasks: a key and a wheel's record have 32 bits, and the
// longest interval must stay below the hour where idle tasks wait.
const MaxTasks = 100_000_000

// Check returns what is wrong with the configuration.
func (c Config) Check() error {
	switch {
	case c.Tasks < 1 || c.Tasks > MaxTasks:
		return fmt.Errorf("%d tasks: want 1 to %d", c.Tasks, MaxTasks)
	case c.Rate < 1 || c.Rate > 10_000_000:
		return fmt.Errorf("%d fires per second: want 1 to 10000000", c.Rate)
	case c.interval() > idle.Milliseconds():
		return fmt.Errorf("%d tasks at %d fires per second recur every %v: want at most %v", c.Tasks, c.Rate, time.Duration(c.interval())*time.Millisecond, idle)
	case c.For < 10*time.Millisecond || c.For > time.Hour:
		return fmt.Errorf("a live part of %v: want 10ms to 1h", c.For)
	}
	return nil
}

// interval returns after how many milliseconds a task recurs.
func (c Config) interval() int64 { return max(1, int64(c.Tasks)*1000/int64(c.Rate)) }

// phase spreads the tasks over the interval as a hash would (the finalizer of
// splitmix64, Vigna 2015): 0 to interval-1.
func phase(key uint32, interval int64) int64 {
	x := (uint64(key) + 1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int64((x ^ x>>31) % uint64(interval))
}
