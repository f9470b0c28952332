// Package scheduler decides when, and keeps the books.
//
//	schedules × cameras = tasks ──wheel, `lead` ahead──► orders ──► agents
//	                                   books: in flight ◄──┘           │
//	                          outcome of each occurrence ◄──Complete───┘
//
// All state is in memory under one lock and in package store; each change is
// durable before it is seen. What should exist is computed from spans and
// calendar.Next, so that Audit can check the rows without trusting a counter.
package scheduler

import (
	"cmp"
	"context"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// Options configure a Scheduler.
type Options struct {
	SealKey   [32]byte      // encrypts camera passwords in the store (AES-256-GCM)
	GiveUp    time.Duration // an order at a silent agent is missed after this; default 7 days
	AgentDead time.Duration // a silent agent's undue orders go to another after this; default 15 s
	Keep      time.Duration // captures are kept this long; default 30 days
	Log       *slog.Logger  // default: none
}

// Scheduler is the centre's heart. Its methods may be called from any
// goroutine, before, during and after Run.
type Scheduler struct {
	opts  Options
	log   *slog.Logger
	store *store.Store
	seal  cipher.AEAD
	epoch uint64
	wake  chan struct{} // cap 1: the driver must look at the wheel again
	inbox chan *report  // unbuffered: the committer takes all that wait at once
	hub   hub

	mu        sync.Mutex
	through   fleet.Instant // all occurrences up to through+lead are in the books
	wheel     *wheel.Wheel
	tasks     []task   // by wheel key; a free one has no cal
	free      []uint32 // keys to use again
	taskKeys  map[taskKey]uint32
	closed    map[taskKey]fleet.Instant // end of the last span, if it ended since New
	held      []store.Flight            // issued by the wheel, waiting to be stored
	late      []fleet.Capture
	flights   map[fleet.Occurrence]*flight
	withdrawn map[fleet.Occurrence]fleet.Instant // taken back; a report of one is not a duplicate
	idle      chan struct{}                      // closed when nothing is in flight; made by Stop
	stopping  bool

	books     map[fleet.SiteID]fleet.Books
	sites     map[fleet.SiteID]fleet.Site
	cameras   map[fleet.CameraID]*fleet.Camera
	devices   map[deviceKey]map[string]fleet.CameraID // source token -> camera
	claims    map[claimKey]string                     // -> device key
	schedules map[fleet.ScheduleID]*schedule          // in force
	revisions map[revisionKey]*schedule
	agents    map[fleet.AgentID]*fleet.Agent
	links     map[fleet.AgentID]*Link
	lost      map[fleet.AgentID]time.Time // silent since
	keys      map[string]store.Key
	tokens    map[[32]byte]store.Token
	creds     map[string]store.Credentials
	credSeq   uint64
	rules     []rule
	nonce     uint64
}

type taskKey struct {
	camera   fleet.CameraID
	schedule fleet.ScheduleID
}

type revisionKey struct {
	schedule fleet.ScheduleID
	revision uint64
}

type deviceKey struct {
	site   fleet.SiteID
	device string
}

type claimKey struct {
	site  fleet.SiteID
	claim fleet.Claim
}

// schedule is one revision of a schedule, compiled.
type schedule struct {
	store.Schedule
	cal *calendar.Schedule
}

// flight is an order without an outcome.
type flight struct {
	store.Flight
	site   fleet.SiteID
	stored bool // its agent said so, on the present stream
}

// rule approves what its selector matches.
type rule struct {
	store.Rule
	selector fleet.Selector
}

// New opens the store in dir and brings the scheduler to where it stopped.
// Close frees it.
func New(ctx context.Context, dir string, o Options) (*Scheduler, error) {
	o.GiveUp = cmp.Or(o.GiveUp, 7*24*time.Hour)
	o.AgentDead = cmp.Or(o.AgentDead, 15*time.Second)
	o.Keep = cmp.Or(o.Keep, 30*24*time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	seal, err := newSeal(o.SealKey)
	if err != nil {
		return nil, err
	}
	st, state, err := store.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	s := &Scheduler{
		opts: o, log: o.Log, store: st, seal: seal, epoch: state.Epoch, nonce: state.Epoch << 32,
		wake: make(chan struct{}, 1), inbox: make(chan *report),
		taskKeys: map[taskKey]uint32{}, closed: map[taskKey]fleet.Instant{}, flights: map[fleet.Occurrence]*flight{}, withdrawn: map[fleet.Occurrence]fleet.Instant{},
		books: state.Books, sites: map[fleet.SiteID]fleet.Site{}, cameras: map[fleet.CameraID]*fleet.Camera{},
		devices: map[deviceKey]map[string]fleet.CameraID{}, claims: map[claimKey]string{},
		schedules: map[fleet.ScheduleID]*schedule{}, revisions: map[revisionKey]*schedule{},
		agents: map[fleet.AgentID]*fleet.Agent{}, links: map[fleet.AgentID]*Link{}, lost: map[fleet.AgentID]time.Time{},
		keys: map[string]store.Key{}, tokens: map[[32]byte]store.Token{}, creds: map[string]store.Credentials{},
	}
	if err := s.restore(ctx, state); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

// Close closes the store. Run must have returned.
func (s *Scheduler) Close() error { return s.store.Close() }

// Fence returns the epoch under which this scheduler gives orders.
func (s *Scheduler) Fence() uint64 { return s.epoch }

// Ready reports why the scheduler cannot work, or nil.
func (s *Scheduler) Ready() error {
	_, err := s.store.Last(context.Background(), 0)
	return err
}

func (s *Scheduler) restore(ctx context.Context, st *store.State) error {
	for _, v := range st.Sites {
		s.sites[v.ID] = v
	}
	for i := range st.Cameras {
		s.remember(&st.Cameras[i])
	}
	for i := range st.Agents {
		a := st.Agents[i]
		a.Connected = false
		s.agents[a.ID] = &a
		s.lost[a.ID] = time.Now()
	}
	for _, k := range st.Keys {
		s.keys[k.ID] = k
	}
	for _, t := range st.Tokens {
		s.tokens[[32]byte(t.Hash)] = t
	}
	for _, c := range st.Credentials {
		s.creds[c.ID] = c
		s.credSeq = max(s.credSeq, c.Version)
	}
	for _, r := range st.Rules {
		sel, err := fleet.ParseSelector(r.Select)
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.Name, err)
		}
		s.rules = append(s.rules, rule{Rule: r, selector: sel})
	}
	for _, row := range st.Schedules {
		var spec calendar.Spec
		err := json.Unmarshal(row.Spec, &spec)
		var cal *calendar.Schedule
		if err == nil {
			cal, err = spec.Compile()
		}
		if err != nil {
			return fmt.Errorf("stored schedule %s, revision %d: %w", row.Name, row.Revision, err)
		}
		c := &schedule{Schedule: row, cal: cal}
		s.revisions[revisionKey{row.ID, row.Revision}] = c
		if row.Removed == 0 {
			s.schedules[row.ID] = c
		}
	}
	for _, f := range st.Flights {
		s.flights[f.Occurrence] = &flight{Flight: f, site: s.siteOf(f.Camera)}
	}
	now := fleet.At(time.Now())
	s.through = cmp.Or(st.Through, now)
	s.wheel = wheel.New(min(s.through, now))
	for _, p := range st.Spans {
		c := s.revisions[revisionKey{p.Schedule, p.Revision}]
		if c == nil {
			return fmt.Errorf("span of schedule %s revision %d, which the store does not hold", p.Schedule, p.Revision)
		}
		s.addTask(p, c, max(p.From-1, s.through.Add(c.cal.Lead())))
	}
	if err := s.advance(ctx, now); err != nil {
		return err
	}
	// What changed while nothing ran (a stop that closed all spans, an
	// interrupted apply) is brought in line.
	var ch change
	for _, c := range s.cameras {
		s.retask(&ch, c, now)
	}
	return s.apply(ctx, &ch)
}

func (s *Scheduler) siteOf(c fleet.CameraID) fleet.SiteID {
	if cam := s.cameras[c]; cam != nil {
		return cam.Site
	}
	return ""
}

// change is a set of changes to make durable, and what to do in memory then.
type change struct {
	store.Batch
	issue  []*flight
	after  []func()
	events []Event
}

func (c *change) then(f func())   { c.after = append(c.after, f) }
func (c *change) tell(e ...Event) { c.events = append(c.events, e...) }

// apply makes ch durable and then visible. s.mu is held. The store is not
// bound to a request's context: a commit is finished or never begun.
func (s *Scheduler) apply(ctx context.Context, ch *change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range ch.issue {
		f.Agent = s.pick(f.site, f.Camera)
		ch.Issue = append(ch.Issue, f.Flight)
	}
	books := s.tally(ch)
	if err := s.store.Commit(context.WithoutCancel(ctx), &ch.Batch); err != nil {
		return err
	}
	for site, b := range books {
		s.books[site] = b
	}
	for _, o := range ch.Drop {
		delete(s.flights, o)
	}
	for i := range ch.Captures {
		delete(s.flights, ch.Captures[i].Occurrence)
	}
	for _, f := range ch.issue {
		s.flights[f.Occurrence] = f
		s.dispatch(f)
	}
	for _, f := range ch.after {
		f()
	}
	if s.idle != nil && len(s.flights) == 0 {
		close(s.idle)
		s.idle = nil
	}
	if len(ch.Captures) > 0 || len(ch.issue) > 0 || len(ch.Drop) > 0 {
		ch.tell(Event{Kind: "books"})
	}
	s.hub.publish(ch.events)
	return nil
}

// tally computes the books as they will be once ch is durable.
func (s *Scheduler) tally(ch *change) map[fleet.SiteID]fleet.Books {
	books := map[fleet.SiteID]fleet.Books{}
	at := func(site fleet.SiteID, f func(*fleet.Books)) {
		b, ok := books[site]
		if !ok {
			b = s.books[site]
		}
		f(&b)
		b.Issued = b.Captured + b.Failed + b.Missed + b.Skipped + b.InFlight
		books[site] = b
	}
	for site, b := range ch.Books { // the caller's, for duplicates
		books[site] = b
	}
	for _, f := range ch.issue {
		at(f.site, func(b *fleet.Books) { b.InFlight++ })
	}
	for _, o := range ch.Drop {
		at(s.siteOf(o.Camera), func(b *fleet.Books) { b.InFlight-- })
	}
	for i := range ch.Captures {
		c := &ch.Captures[i]
		_, inFlight := s.flights[c.Occurrence]
		at(s.siteOf(c.Camera), func(b *fleet.Books) {
			if inFlight {
				b.InFlight--
			}
			switch c.Outcome {
			case fleet.Captured:
				b.Captured++
			case fleet.Failed:
				b.Failed++
			case fleet.Missed:
				b.Missed++
			case fleet.Skipped:
				b.Skipped++
			}
		})
	}
	ch.Books = books
	return books
}

// Run drives the wheel and takes in what agents report, until ctx ends. It
// returns early only when the store cannot go on.
func (s *Scheduler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context) error{s.drive, s.sweep, s.takeIn} {
		wg.Go(func() {
			if err := loop(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("run scheduler: %w", err)
	}
	return nil
}

// driveTick is the least time between two looks at the wheel: orders leave a
// second or more ahead, so a few milliseconds cost nothing and share a commit.
const driveTick = 10 * time.Millisecond

func (s *Scheduler) drive(ctx context.Context) error {
	for {
		s.mu.Lock()
		err := s.advance(ctx, fleet.At(time.Now()))
		next, busy := s.wheel.Next()
		s.mu.Unlock()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted
		}
		wait := time.Hour
		switch {
		case errors.Is(err, store.ErrTorn):
			return err
		case err != nil: // a full disk, most likely: keep what is due, try again
			s.log.ErrorContext(ctx, "orders could not be stored", "err", err)
			wait = time.Second
		case busy:
			wait = max(time.Until(next.Time()), driveTick)
		}
		timer := time.NewTimer(min(wait, time.Hour))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
	}
}

func (s *Scheduler) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sweepEvery is how often flights without a future are looked for.
const sweepEvery = time.Second

func (s *Scheduler) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.mu.Lock()
		err := s.expire(ctx, time.Now())
		s.mu.Unlock()
		if errors.Is(err, store.ErrTorn) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "expired orders could not be stored", "err", err)
		}
		if n%600 == 0 {
			if dropped, err := s.store.DropBefore(time.Now().Add(-s.opts.Keep)); err != nil || dropped > 0 {
				s.log.InfoContext(ctx, "captures aged out", "files", dropped, "err", err)
			}
		}
	}
}

// Stop ends all tasks: spans close now, orders whose time has not come are
// taken back and leave the books. It returns once all others have their
// outcome, or ctx ends. Tasks open again at the next New.
func (s *Scheduler) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	now := fleet.At(time.Now())
	err := s.advance(ctx, now)
	var ch change
	for _, c := range s.cameras {
		s.retask(&ch, c, now)
	}
	err = errors.Join(err, s.apply(ctx, &ch))
	idle := make(chan struct{})
	if len(s.flights) == 0 {
		close(idle)
	} else {
		s.idle = idle
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return fmt.Errorf("stop: %d orders have no outcome yet: %w", len(s.flights), ctx.Err())
	}
}
