package wheelbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

const (
	idle    = time.Hour              // when tasks are due that must not fire
	settleT = 500 * time.Millisecond // of the live part that does not count
	most    = 1_000_000              // tasks of the hot part and of the herd
	hotMS   = 500                    // interval of the hot part: 2 M fires per second, above what costs a wake-up each
	hotFor  = 2 * time.Second
	drainBy = 60 * time.Second // a herd that has not drained by then is given up
)

// Measure runs all parts for one kind, in this process, and calls done with
// the figures so far after each. It ends early with ctx.
func Measure(ctx context.Context, k Kind, c Config, done func(Figures)) error {
	if err := c.Check(); err != nil {
		return err
	}
	m := &measurement{kind: k, cfg: c}
	for _, part := range []func(context.Context) error{m.still, m.live, m.hot, m.herd, m.simulated} {
		if err := part(ctx); err != nil {
			return fmt.Errorf("measure %s: %w", k.Name, err)
		}
		settle()
		done(m.f)
	}
	return nil
}

type measurement struct {
	kind Kind
	cfg  Config
	f    Figures
	fill time.Duration // how long arming all tasks took
}

func (m *measurement) note(format string, args ...any) {
	m.f.Notes = append(m.f.Notes, fmt.Sprintf(format, args...))
}

func (m *measurement) early(n int64) {
	if m.f.Early == nil {
		m.f.Early = new(float64)
	}
	*m.f.Early += float64(n)
}

// still measures tasks that do not fire: adding, memory, GC, cancelling.
func (m *measurement) still(context.Context) error {
	n := m.cfg.Tasks
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	rand.New(rand.NewPCG(3, 4)).Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	settle()
	heapEmpty := heap()
	rssEmpty, haveRSS := resident("VmRSS")

	var fired atomic.Int64
	s := m.kind.New(Env{Tasks: n, Clock: NewClock(), Fire: func(uint32, int64) int64 { fired.Add(1); return -1 }})
	defer s.Close()
	heapBefore := heap()
	interval := m.cfg.interval()
	began, used := time.Now(), cpu()
	for key := range uint32(n) {
		s.Add(key, idle.Milliseconds()+phase(key, interval))
	}
	m.f.AddNS = new(float64(cpu()-used) / float64(n))
	m.fill = time.Since(began)

	heapFull := heap()
	m.f.BytesPerTask = new(float64(int64(heapFull-heapBefore)) / float64(n))
	m.f.HeapMB = new(float64(int64(heapFull-heapEmpty)) / 1e6)
	settle()
	if rss, ok := resident("VmRSS"); ok && haveRSS {
		m.f.RSSMB = new((rss - rssEmpty) / 1e6)
	}
	var gcs []float64
	for range 5 {
		used := cpu()
		runtime.GC()
		gcs = append(gcs, float64(cpu()-used)/1e6)
	}
	m.f.GCCPUMS = new(middle(gcs, func(v float64) float64 { return v }))

	refused := 0
	used = cpu()
	for _, key := range order {
		if !s.Cancel(key) {
			refused++
		}
	}
	m.f.CancelNS = new(float64(cpu()-used) / float64(n))
	if refused > 0 {
		m.note("%d of %d tasks could not be cancelled", refused, n)
	}
	m.early(fired.Load())
	return nil
}

// start returns the first whole millisecond that is late enough for all tasks
// to be armed before.
func (m *measurement) start(c Clock) int64 {
	return c.Now() + (m.fill*3/2 + time.Second).Milliseconds()
}

// live lets all tasks recur at the rate asked for.
func (m *measurement) live(ctx context.Context) error {
	var counting, ended atomic.Bool
	d := new(delays)
	clock, interval := NewClock(), m.cfg.interval()
	s := m.kind.New(Env{Tasks: m.cfg.Tasks, Clock: clock, Fire: func(_ uint32, at int64) int64 {
		if counting.Load() {
			d.add(-clock.Until(at))
		}
		if ended.Load() {
			return -1
		}
		return at + interval
	}})
	defer s.Close()
	defer ended.Store(true)
	start := m.start(clock)
	for key := range uint32(m.cfg.Tasks) {
		s.Add(key, start+phase(key, interval))
	}
	if left := clock.Until(start); left < 0 {
		m.note("arming took %v longer than expected: the first fires of the live part were late", -left.Round(time.Millisecond))
	}
	runtime.GC() // what arming left behind is not the live part's
	if err := sleep(ctx, clock.Until(start)+settleT); err != nil {
		return err
	}
	counting.Store(true)
	began, used := time.Now(), cpu()
	if err := sleep(ctx, m.cfg.For); err != nil {
		return err
	}
	took, share := time.Since(began), cpu()-used
	counting.Store(false)
	n := d.count()
	m.f.FiresPerS = new(float64(n) / took.Seconds())
	m.f.CPUShare = new(100 * share.Seconds() / took.Seconds())
	m.early(d.early.Load())
	if n == 0 {
		m.note("nothing fired in the live part")
		return nil
	}
	m.f.DelayMS = &Delay{P50: d.quantile(0.5), P99: d.quantile(0.99), P999: d.quantile(0.999), Max: d.maximum()}
	return nil
}

// hot lets a part of the tasks recur so often that sleeping and waking hardly
// count; the others wait. What is slower than the rate runs as fast as it can.
func (m *measurement) hot(ctx context.Context) error {
	var stop atomic.Bool
	var fired, about atomic.Int64 // about the time, read every 64 fires
	clock := NewClock()
	s := m.kind.New(Env{Tasks: m.cfg.Tasks, Clock: clock, Fire: func(_ uint32, at int64) int64 {
		if stop.Load() {
			return -1
		}
		if fired.Add(1)%64 == 0 {
			about.Store(clock.Now())
		}
		if now := about.Load(); now-at > hotMS {
			at = now // what cannot keep up must not come to run all at once for ever
		}
		return at + hotMS
	}})
	defer s.Close()
	defer stop.Store(true)
	start := m.start(clock)
	for key := range uint32(m.cfg.Tasks) {
		if at := start + phase(key, hotMS); m.few(key) {
			s.Add(key, at)
		} else {
			s.Add(key, start+idle.Milliseconds()+phase(key, m.cfg.interval()))
		}
	}
	runtime.GC()
	if err := sleep(ctx, clock.Until(start)+settleT); err != nil {
		return err
	}
	n, used := fired.Load(), cpu()
	if err := sleep(ctx, hotFor); err != nil {
		return err
	}
	if n = fired.Load() - n; n == 0 {
		m.note("nothing fired in the hot part")
		return nil
	}
	m.f.FiresPerSCore = new(float64(n) / (cpu() - used).Seconds())
	return nil
}

// few picks at most about a million of the tasks, evenly.
func (m *measurement) few(key uint32) bool { return int(key)%m.every() == 0 }

func (m *measurement) every() int { return (m.cfg.Tasks + most - 1) / most }

// herd makes a part of the tasks due at one instant.
func (m *measurement) herd(ctx context.Context) error {
	var fired, early atomic.Int64
	var last atomic.Int64
	size := int64((m.cfg.Tasks + m.every() - 1) / m.every())
	drained := make(chan struct{})
	clock, interval := NewClock(), m.cfg.interval()
	s := m.kind.New(Env{Tasks: m.cfg.Tasks, Clock: clock, Fire: func(_ uint32, at int64) int64 {
		if n := fired.Add(1); n == 1 || n == size {
			since := -clock.Until(at)
			if since < 0 {
				early.Add(1)
			}
			if n == size {
				last.Store(int64(since))
				close(drained)
			}
		}
		return at + idle.Milliseconds() + interval
	}})
	defer s.Close()
	at := m.start(clock)
	for key := range uint32(m.cfg.Tasks) {
		if m.few(key) {
			s.Add(key, at)
		} else {
			s.Add(key, at+idle.Milliseconds()+phase(key, interval))
		}
	}
	settle()
	before, ok := resident("VmRSS")
	ok = resetPeak() && ok
	left := clock.Until(at)
	if left < 0 {
		m.note("arming the herd took %v longer than expected: it was not measured", -left.Round(time.Millisecond))
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, left+drainBy)
	defer cancel()
	select {
	case <-drained:
	case <-wait.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.note("%d of a herd of %d had not fired after %v", size-fired.Load(), size, drainBy)
		return nil
	}
	m.early(early.Load())
	m.f.HerdDrainMS = new(float64(last.Load()) / 1e6)
	if peak, have := resident("VmHWM"); have && ok {
		m.f.HerdRSSMB = new(max(0, peak-before) / 1e6)
	} else {
		m.note("the peak of resident memory cannot be read on this system")
	}
	return nil
}

// simulated moves time by hand: two intervals, the first to come into the
// steady state.
func (m *measurement) simulated(ctx context.Context) error {
	if m.kind.Step == nil {
		return nil
	}
	const ticks = 64
	interval, fired := m.cfg.interval(), 0
	s := m.kind.Step(Env{Tasks: m.cfg.Tasks, Clock: NewClock(), Fire: func(_ uint32, at int64) int64 {
		fired++
		return at + interval
	}})
	defer s.Close()
	for key := range uint32(m.cfg.Tasks) {
		s.Add(key, 1+phase(key, interval))
	}
	now := int64(0)
	for ; now < interval+ticks; now++ {
		s.Step(now)
	}
	var stalls []float64
	fired = 0
	used := cpu()
	for end := now + interval; now < end; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		began := time.Now()
		for range ticks {
			s.Step(now)
			now++
		}
		stalls = append(stalls, float64(time.Since(began))/1e6)
	}
	m.f.SimFiresPerSCore = new(float64(fired) / (cpu() - used).Seconds())
	slices.Sort(stalls)
	at := func(q float64) float64 { return stalls[int(q*float64(len(stalls)-1))] }
	m.f.StallMS = &Stall{P50: at(0.5), P99: at(0.99), Max: at(1)}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
