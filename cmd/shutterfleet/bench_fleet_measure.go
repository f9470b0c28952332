package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/child"
	"github.com/shutterfleet/shutterfleet/cmd/internal/seed"
	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// reading is all that is compared between the window's ends.
type reading struct {
	at                time.Time
	scheduler, agents child.Usage
	books             fleet.Books
}

func (b *fleetBench) read(ctx context.Context) (r reading, err error) {
	var berr, serr, aerr error
	var books admin.AllBooks
	books, berr = b.books(ctx)
	r.scheduler, serr = b.scheduler.Usage()
	r.agents, aerr = b.agents.Usage()
	r.books, r.at = books.Books, time.Now()
	return r, errors.Join(berr, serr, aerr)
}

func (b *fleetBench) measure(ctx context.Context) (*fleetResult, error) {
	from, until := b.seeded.From.Time(), b.seeded.Measured.Time()
	first, err := b.firstOrder(ctx)
	if err != nil {
		return nil, err
	}
	if first.After(from) {
		fmt.Fprintf(b.progress, "the first order came %.1f s after it was due: the figures include that backlog\n", first.Sub(from).Seconds())
	}
	if err := sleepUntil(ctx, from); err != nil {
		return nil, err
	}
	if n := b.told().Agents; n < b.o.agents {
		fmt.Fprintf(b.progress, "only %d of %d agents were connected when the first cameras were due: the figures include that\n", n, b.o.agents)
	}
	r0, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	var watch observer
	wctx, stop := context.WithDeadline(ctx, until)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { watch.updates(wctx, b) })
	wg.Go(func() { watch.histories(wctx, b, 250*time.Millisecond, 0, &watch.history) })
	maxFlying := b.follow(wctx, r0)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r1, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(b.progress, "measured; the orders that are out end within %v\n", b.seeded.Lead)
	end, err := b.drain(ctx)
	if err != nil {
		return nil, err
	}
	watch.histories(ctx, b, 10*time.Millisecond, 100, &watch.idle)
	last, err := b.scheduler.Usage() // the audit's memory is its own
	if err != nil {
		return nil, err
	}
	audit, err := b.audit(ctx)
	if err != nil {
		return nil, err
	}

	st := b.told()
	window := r1.at.Sub(r0.at).Seconds()
	captured := float64(r1.books.Captured - r0.books.Captured)
	outcomes := float64((r1.books.Issued - r1.books.InFlight) - (r0.books.Issued - r0.books.InFlight))
	cpu := func(a, b child.Usage) float64 { return float64((b.CPU - a.CPU).Microseconds()) }
	sched, agents := cpu(r0.scheduler, r1.scheduler), cpu(r0.agents, r1.agents)
	res := &fleetResult{
		Cameras: b.o.cameras, Agents: b.o.agents, Sites: b.o.sites, IntervalS: b.o.interval.Seconds(), WindowS: round(window, 3),
		OfferedPS: round(float64(b.o.cameras)/b.o.interval.Seconds(), 1), CapturedS: round(captured/window, 1), OutcomesS: round(outcomes/window, 1),
		RSSMB: round(float64(last.Peak)/1e6, 1), DelayMS: st.Delay, AckMS: st.Ack,
		StateUpdateMS: watch.update.Quantiles(), HistoryMS: watch.history.Quantiles(), HistoryIdleMS: watch.idle.Quantiles(),
		MaxFlying: maxFlying, Books: end, Expected: b.seeded.Expected, Unaccounted: audit.Unaccounted,
	}
	if res.Sites == 0 {
		res.Sites = res.Agents
	}
	if captured > 0 {
		res.CPUMicros, res.AgentCPUMicros = round(sched/captured, 2), round(agents/captured, 2)
	}
	all := window * 1e6 * float64(runtime.NumCPU())
	res.CPUShare.Scheduler, res.CPUShare.Agents = round(sched/all, 4), round(agents/all, 4)
	if !b.began.Before(from.Add(-b.seeded.Lead)) {
		res.StartS = round(first.Sub(b.began).Seconds(), 3)
	}
	if !end.Balanced() || end.Issued != uint64(b.seeded.Expected) || audit.Expected != b.seeded.Expected {
		// The audit's own idea of what should exist is checked as well.
		fmt.Fprintf(b.progress, "the books do not agree: the calendar yields %d, the audit expects %d, the books say %+v\n", b.seeded.Expected, audit.Expected, end)
		res.Unaccounted = max(res.Unaccounted, abs(b.seeded.Expected-int(end.Issued)), abs(b.seeded.Expected-audit.Expected), 1)
	}
	return res, nil
}

func abs(n int) int { return max(n, -n) }

func (b *fleetBench) firstOrder(ctx context.Context) (time.Time, error) {
	tick := time.NewTicker(statsEvery / 4)
	defer tick.Stop()
	next := time.Now().Add(progressEvery)
	for {
		st := b.told()
		if st.FirstOrder != 0 {
			return time.Unix(0, st.FirstOrder), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case now := <-tick.C:
			if now.After(b.seeded.Until.Time()) {
				return time.Time{}, fmt.Errorf("no order came, and the schedule is over: %d of %d agents are connected", st.Agents, b.o.agents)
			}
			if now.After(next) {
				next = now.Add(progressEvery)
				fmt.Fprintf(b.progress, "%d of %d agents connected, no order yet\n", st.Agents, b.o.agents)
			}
		}
	}
}

const progressEvery = 5 * time.Second

// follow tells how it goes until ctx ends, and returns the most orders that
// were in flight.
func (b *fleetBench) follow(ctx context.Context, before reading) (most uint64) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	most = before.books.InFlight
	for {
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
		now, err := b.read(ctx)
		if err != nil {
			if ctx.Err() == nil {
				fmt.Fprintln(b.progress, "books:", err)
			}
			continue
		}
		st := b.told()
		most = max(most, now.books.InFlight)
		fmt.Fprintf(b.progress, "%3.0f s: %.0f captures/s, %d in flight, %d missed; %d agents; scheduler %.0f %% of a core, %.0f MB; agents %.0f %%\n",
			now.at.Sub(before.at).Seconds(), float64(now.books.Captured-before.books.Captured)/now.at.Sub(before.at).Seconds(), now.books.InFlight, now.books.Missed, st.Agents,
			100*(now.scheduler.CPU-before.scheduler.CPU).Seconds()/now.at.Sub(before.at).Seconds(), float64(now.scheduler.RSS)/1e6,
			100*(now.agents.CPU-before.agents.CPU).Seconds()/now.at.Sub(before.at).Seconds())
	}
}

// drain waits until nothing is in flight: the schedule is over.
func (b *fleetBench) drain(ctx context.Context) (fleet.Books, error) {
	ctx, cancel := context.WithDeadline(ctx, b.seeded.Until.Time().Add(b.seeded.Deadline+drainWait))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		books, err := b.books(ctx)
		if err == nil && books.InFlight == 0 && books.Issued >= uint64(b.seeded.Expected) {
			return books.Books, nil
		}
		select {
		case <-ctx.Done():
			// Not an error of the run: it is what the figures have to say.
			fmt.Fprintf(b.progress, "%d of %d orders have no outcome after %v\n", books.InFlight, books.Issued, b.seeded.Deadline+drainWait)
			return books.Books, nil
		case <-tick.C:
		}
	}
}

// drainWait is how long after the last deadline outcomes may still come in.
const drainWait = 90 * time.Second

func (b *fleetBench) audit(ctx context.Context) (admin.Audit, error) {
	var a admin.Audit
	// The audit goes as far as the issue clock, which stands still while nothing
	// is due. A plan for a schedule brings it to the present and changes nothing.
	never := []byte(`schedules: [{name: never, select: "*", once: "2020-01-01T00:00:00Z"}]`)
	if err := b.api.Post(ctx, "schedules/apply", url.Values{"dry_run": {"true"}}, "application/yaml", never, nil); err != nil {
		return a, err
	}
	err := b.api.Get(ctx, "audit", url.Values{"from": {b.seeded.From.String()}, "until": {b.seeded.Until.String()}}, &a)
	for _, e := range a.Examples {
		fmt.Fprintln(b.progress, "unaccounted:", e)
	}
	return a, err
}

// observer looks at the fleet as an operator would.
type observer struct{ update, history, idle swarm.Histogram }

// updates measures how long a report takes to be seen.
func (w *observer) updates(ctx context.Context, b *fleetBench) {
	for {
		var s swarm.Sent
		select {
		case <-ctx.Done():
			return
		case s = <-b.sent:
		}
		for {
			var cam admin.Camera
			if err := b.api.Get(ctx, "cameras/"+s.Camera.String(), nil, &cam); err != nil {
				break
			}
			if cam.LastCapture != nil && cam.LastCapture.At >= s.At {
				w.update.Add(time.Since(time.Unix(0, s.Sent)))
				break
			}
			if sleepUntil(ctx, time.Now().Add(time.Millisecond)) != nil {
				break
			}
		}
	}
}

// histories reads cameras' last hours: one per pause, n of them or, when n is
// 0, until ctx ends.
func (w *observer) histories(ctx context.Context, b *fleetBench, pause time.Duration, n int, into *swarm.Histogram) {
	for i := 0; n == 0 || i < n; i++ {
		if sleepUntil(ctx, time.Now().Add(pause)) != nil {
			return
		}
		id := seed.Camera(rand.IntN(b.o.cameras))
		t := time.Now()
		var page admin.List[admin.Capture]
		err := b.api.Get(ctx, "captures", url.Values{"camera": {id.String()}, "from": {fleet.At(t.Add(-time.Hour)).String()}, "limit": {"1000"}}, &page)
		if err == nil {
			into.Add(time.Since(t))
		}
	}
}
