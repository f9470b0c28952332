// Package scheduler decides when, and keeps the books.
//
//	schedules × cameras = tasks ──wheel, `lead` ahead──► orders ──► agents
//	                                   books: in flight ◄──┘           │
//	                          outcome of each occurrence ◄──Complete───┘
//
// All state is in memory under one lock, in tables without pointers (a camera
// with a task and its share of orders is about 300 bytes), and in package
// store; each change is durable before it is seen. What should exist is
// computed from spans and calendar.Next, so that Audit can check the rows
// without trusting a counter.
package scheduler

import (
	"cmp"
	"context"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	Burst     float64       // most captures that start in a second, over all sites; 0 = no bound
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

	commands commands
	logins   *logins

	applying sync.Mutex // one change of schedules at a time

	mu      sync.Mutex
	through fleet.Instant // all occurrences up to through+lead are in the books
	cut     fleet.Instant // end of the span that was closed last
	wheel   *wheel.Wheel
	held    change                    // of the wheel, waiting to be stored
	settled map[fleet.Occurrence]bool // outcomes without orders, found by New
	idle    chan struct{}             // closed when nothing is in flight; made by Stop
	burst   shaper
	delayed struct { // by shaping, since New
		n       int
		longest time.Duration
	}
	taking    change          // scratch of complete
	taken     map[uint32]bool // scratch of complete
	swept     int
	stopping  bool
	unsettled bool // reconcile must run again

	cams    cameras
	tasks   slab[task]
	slots   slab[flight]
	flights map[orderKey]uint32
	wanted  []uint32 // scratch of retask

	early     map[fleet.Occurrence]bool          // that had their outcome before their time, and their task was closed
	withdrawn map[fleet.Occurrence]fleet.Instant // taken back; a report of one is not a duplicate

	sites        []*site
	siteIDs      map[fleet.SiteID]*site
	places       []place
	placeNumbers map[string]uint32
	tags         []string
	tagNumbers   map[string]uint16
	boxes        []*agent
	agents       map[fleet.AgentID]*agent

	revs    []*schedule
	revOf   map[revisionKey]uint32
	idents  map[fleet.ScheduleID]uint32
	latest  []uint32 // by ident: its newest revision
	inForce []uint32 // revisions, in order of their names

	pauses  []pause
	jobs    map[string]*job
	keys    map[string]store.Key
	tokens  map[[32]byte]store.Token
	creds   map[string]store.Credentials
	credSeq uint64
	rules   []rule

	disputes map[disputed]*dispute

	nonce  uint64
	roster uint64 // version of the newest camera list or standing orders
}

type revisionKey struct {
	schedule fleet.ScheduleID
	revision uint64
}

// schedule is one revision of a schedule, compiled.
type schedule struct {
	store.Schedule
	cal        *calendar.Schedule
	ident      uint32 // of its id: the same for all revisions
	all        bool   // it selects every camera
	lead       time.Duration
	deadline   time.Duration
	shapeLimit time.Duration
	retries    uint8
	priority   fleet.Priority
	job        *job // nil for a schedule that recurs
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
	if !(o.Burst >= 0) {
		return nil, fmt.Errorf("scheduler: burst %v: want captures per second, or 0 for no bound", o.Burst)
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
		opts: o, log: o.Log, store: st, seal: seal, epoch: state.Epoch, nonce: state.Epoch << 32, roster: state.Epoch << 32,
		wake: make(chan struct{}, 1), inbox: make(chan *report), burst: shaper{rate: o.Burst},
		cams: newCameras(), flights: map[orderKey]uint32{}, withdrawn: map[fleet.Occurrence]fleet.Instant{}, early: map[fleet.Occurrence]bool{},
		siteIDs: map[fleet.SiteID]*site{}, placeNumbers: map[string]uint32{}, tagNumbers: map[string]uint16{}, agents: map[fleet.AgentID]*agent{},
		revOf: map[revisionKey]uint32{}, idents: map[fleet.ScheduleID]uint32{}, jobs: map[string]*job{}, taken: map[uint32]bool{},
		keys: map[string]store.Key{}, tokens: map[[32]byte]store.Token{}, creds: map[string]store.Credentials{}, disputes: map[disputed]*dispute{},
	}
	s.logins = newLogins(st, o.Log)
	if err := errors.Join(s.restore(ctx, state), s.logins.restore(ctx)); err != nil {
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
		s.setSite(v)
	}
	n, err := s.store.CountCameras(ctx)
	if err != nil {
		return err
	}
	s.cams.byID = make(map[fleet.CameraID]uint32, n)
	if err := s.store.EachCamera(ctx, s.loadCamera); err != nil {
		return err
	}
	for _, a := range st.Agents {
		lost := time.Now() // it was connected until the scheduler ended, or its power
		if !a.Connected {
			lost = a.Seen.Time()
		}
		a.Connected = false
		s.addAgent(a).lost = lost.UnixNano()
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
		s.addRevision(row, cal)
	}
	s.force()
	for _, p := range st.Pauses {
		if err := s.restorePause(p); err != nil {
			return err
		}
	}
	if err := s.restoreDisputes(st.Disputes); err != nil {
		return err
	}
	if err := s.restoreJobs(st.Jobs); err != nil {
		return err
	}
	now := fleet.At(time.Now())
	s.through = cmp.Or(st.Through, now)
	s.cut = st.Through // spans may have been closed then, and the clock set back since
	s.wheel = wheel.New(min(s.through, now))
	err = s.store.Closed(ctx, s.through, func(p store.Span) {
		if p.From == p.Until {
			s.early[fleet.Occurrence{Camera: p.Camera, Schedule: p.Schedule, Nominal: p.From}] = true
		}
	})
	if err != nil {
		return err
	}
	if err := s.restoreTasks(ctx); err != nil {
		return err
	}
	if err := s.restoreFlights(ctx); err != nil {
		return err
	}
	if err := s.advance(ctx, now); err != nil {
		return err
	}
	s.settled = nil
	if st.Reconcile { // all spans were closed by Stop, or a change of schedules was interrupted
		return s.reconcile(ctx)
	}
	return nil
}

// addRevision keeps one revision of a schedule.
func (s *Scheduler) addRevision(row store.Schedule, cal *calendar.Schedule) uint32 {
	n := uint32(len(s.revs))
	ident, ok := s.idents[row.ID]
	if !ok {
		ident = uint32(len(s.latest))
		s.idents[row.ID] = ident
		s.latest = append(s.latest, n)
	}
	s.latest[ident] = n
	r := &schedule{
		Schedule: row, cal: cal, ident: ident, all: cal.Spec().Select == "*", lead: cal.Lead(), deadline: cal.Deadline(), shapeLimit: shapeLimit,
		retries: cal.Retry().Attempts, priority: cal.Priority(),
	}
	if every := time.Duration(cal.Spec().Every); every > 0 { // the next one would be in its way
		r.shapeLimit = min(r.shapeLimit, every)
	}
	s.revs = append(s.revs, r)
	s.revOf[revisionKey{row.ID, row.Revision}] = n
	return n
}

// force lists the schedules in force.
func (s *Scheduler) force() {
	s.inForce = s.inForce[:0]
	for _, n := range s.latest {
		if r := s.revs[n]; r.Removed == 0 && r.job == nil {
			s.inForce = append(s.inForce, n)
		}
	}
	slices.SortFunc(s.inForce, func(a, b uint32) int { return cmp.Compare(s.revs[a].Name, s.revs[b].Name) })
}

// inForceNamed returns the schedule with that id, nil when none is in force.
func (s *Scheduler) scheduleInForce(id fleet.ScheduleID) *schedule {
	ident, ok := s.idents[id]
	if !ok {
		return nil
	}
	if r := s.revs[s.latest[ident]]; r.Removed == 0 && r.job == nil {
		return r
	}
	return nil
}

func (s *Scheduler) restoreTasks(ctx context.Context) error {
	// Spans come in the order in which the cameras came: the next one's camera
	// is nearly always this one's or the next.
	camera := uint32(0)
	return s.store.EachSpan(ctx, func(p store.Span) error {
		for range 2 {
			if camera > 0 && camera <= s.cams.slots.used && s.cams.slots.at(camera).id == p.Camera {
				break
			}
			camera++
		}
		if camera > s.cams.slots.used || s.cams.slots.at(camera).id != p.Camera {
			if camera = s.cams.byID[p.Camera]; camera == 0 {
				return fmt.Errorf("span of camera %s, which the store does not hold", p.Camera)
			}
		}
		rev, ok := s.revOf[revisionKey{p.Schedule, p.Revision}]
		if !ok {
			return fmt.Errorf("span of schedule %s revision %d, which the store does not hold", p.Schedule, p.Revision)
		}
		t := task{from: p.From, enabled: p.Enabled, camera: camera, rev: rev, place: s.placeNumber(p.Place)}
		s.addTask(t, max(p.From-1, s.through.Add(s.revs[rev].lead)))
		return nil
	})
}

// restoreFlights finds the orders in flight and the books from what was logged.
func (s *Scheduler) restoreFlights(ctx context.Context) error {
	lost := func(o fleet.Occurrence) {
		s.log.WarnContext(ctx, "order of an unknown camera or schedule", "occurrence", o)
	}
	s.settled = map[fleet.Occurrence]bool{}
	index := func(id fleet.AgentID) uint32 {
		if a := s.agents[id]; a != nil {
			return a.index
		}
		return 0
	}
	drop := func(o fleet.Occurrence) {
		if n := s.flightOf(o); n != 0 {
			s.siteAt(s.slots.at(n).camera).books.InFlight--
			s.removeFlight(n)
		}
	}
	err := s.store.Replay(ctx, store.Fold{
		Books: func(id fleet.SiteID, b fleet.Books) {
			b.InFlight = 0 // the orders that follow say
			s.siteNamed(id).books = b
		},
		Issue: func(v store.Flight) {
			camera := s.cams.byID[v.Camera]
			ident, ok := s.idents[v.Schedule]
			if camera == 0 || !ok {
				lost(v.Occurrence)
				return
			}
			if s.flights[orderKey{camera, ident, v.Nominal}] != 0 {
				return
			}
			s.addFlight(flight{nominal: v.Nominal, camera: camera, rev: s.latest[ident], start: uint32(v.Start() - v.Nominal), deadline: uint32(v.Deadline - v.Nominal), agent: index(v.Agent)})
			at := s.siteAt(camera)
			at.books.InFlight++
			at.bucket.take(v.Start())
			s.burst.take(v.Start())
		},
		Assign: func(o fleet.Occurrence, id fleet.AgentID) {
			if n := s.flightOf(o); n != 0 {
				s.give(n, index(id))
			}
		},
		Drop: drop,
		Repeat: func(id fleet.SiteID, n uint64) {
			s.siteNamed(id).books.Duplicates += n
		},
		Outcome: func(c *fleet.Capture) {
			drop(c.Occurrence)
			if c.Nominal > s.through {
				s.settled[c.Occurrence] = true
			}
			if camera := s.cams.byID[c.Camera]; camera != 0 {
				enter(&s.siteAt(camera).books, c.Outcome)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("replay what happened to orders: %w", err)
	}
	for n := uint32(1); n <= s.slots.used; n++ {
		f := s.slots.at(n)
		if f.camera != 0 && f.agent == 0 && s.pausedAt(s.siteAt(f.camera), s.cams.slots.at(f.camera).id, f.rev, f.nominal+fleet.Instant(f.start)) {
			f.paused = true
			s.watch(n)
		}
	}
	return nil
}

// change is a set of changes to make durable, and what to do in memory then.
type change struct {
	store.Batch
	flights []uint32 // beside Batch.Captures: their orders; 0 = had none
	issue   []issue
	release []uint32 // orders whose pause is over
	drop    []uint32 // orders to take back
	move    []move
	close   []uint32 // tasks
	open    []opening
	claims  []claimed
	put     map[fleet.CameraID]bool // those in Batch.Cameras
	after   []func()
	events  []Event
}

// claimed is evidence that belongs to a site's device.
type claimed struct {
	site   fleet.SiteID
	device string
	claim  fleet.Claim
}

// move gives an order to another agent, or to nobody.
type move struct {
	flight, to uint32
	paused     bool
}

func (c *change) then(f func())   { c.after = append(c.after, f) }
func (c *change) tell(e ...Event) { c.events = append(c.events, e...) }

// reset empties c and keeps its memory, unless a herd made it large.
func (c *change) reset() {
	if cap(c.issue) > 1<<16 || cap(c.Captures) > 1<<14 {
		*c = change{}
		return
	}
	*c = change{
		Batch: store.Batch{Captures: c.Captures[:0], Issue: c.Issue[:0], Assign: c.Assign[:0], Drop: c.Drop[:0]}, flights: c.flights[:0], issue: c.issue[:0], release: c.release[:0],
	}
}

// apply makes ch durable and then visible. s.mu is held. The store is not
// bound to a request's context: a commit is finished or never begun.
func (s *Scheduler) apply(ctx context.Context, ch *change) error {
	if err := s.commit(ctx, ch); err != nil {
		if ch != &s.held { // nobody tries it again: others may have its room
			for i := range ch.issue {
				v := &ch.issue[i]
				v.site.bucket.give(v.start)
				s.burst.give(v.start)
			}
			for _, n := range ch.drop {
				f := s.slots.at(n)
				s.siteAt(f.camera).bucket.take(f.nominal + fleet.Instant(f.start))
				s.burst.take(f.nominal + fleet.Instant(f.start))
			}
		}
		return err
	}
	s.perform(ch)
	return nil
}

// commit makes ch durable.
func (s *Scheduler) commit(ctx context.Context, ch *change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, n := range ch.release {
		if f := s.slots.at(n); f.camera != 0 && f.paused {
			m := move{flight: n}
			if a := s.pick(s.targetOf(f.camera), nil); a != nil {
				m.to = a.index
			}
			ch.move = append(ch.move, m)
		}
	}
	ch.Issue, ch.Drop, ch.Assign = ch.Issue[:0], ch.Drop[:0], ch.Assign[:0]
	for i := range ch.issue {
		v := &ch.issue[i]
		if v.picked || v.agent != 0 && s.boxes[v.agent-1].State != fleet.Approved {
			v.agent = 0 // picked by a commit that failed: it may be gone
		}
		if v.agent == 0 && !v.paused {
			if a := s.pick(v.target, nil); a != nil {
				v.agent, v.picked = a.index, true
			}
		}
		r := s.revs[v.rev]
		ch.Issue = append(ch.Issue, store.Flight{
			Order: fleet.Order{Occurrence: fleet.Occurrence{Camera: v.id, Schedule: r.ID, Nominal: v.nominal}, NotBefore: v.start, Deadline: v.deadline},
			Agent: s.agentID(v.agent),
		})
	}
	for _, n := range ch.drop {
		ch.Drop = append(ch.Drop, s.occurrence(s.slots.at(n)))
	}
	for _, m := range ch.move {
		v := s.stored(s.slots.at(m.flight))
		v.Agent = s.agentID(m.to)
		ch.Assign = append(ch.Assign, v)
	}
	if err := s.store.Commit(context.WithoutCancel(ctx), &ch.Batch); err != nil {
		ch.move = ch.move[:0] // of release, if it is tried again
		return err
	}
	return nil
}

// perform makes visible what is durable now.
func (s *Scheduler) perform(ch *change) {
	for id, n := range ch.Repeats {
		s.siteNamed(id).books.Duplicates += n
	}
	for _, n := range ch.drop {
		f := s.slots.at(n)
		o := s.occurrence(f)
		s.withdrawn[o] = f.nominal.Add(time.Duration(f.deadline)*time.Millisecond + s.opts.GiveUp)
		s.recall(f)
		s.siteAt(f.camera).books.InFlight--
		s.removeFlight(n)
	}
	for _, n := range ch.close {
		s.siteAt(s.tasks.at(n).camera).ended()
		s.removeTask(n)
	}
	for _, f := range ch.after {
		f()
	}
	for i := range ch.Cameras {
		s.remember(&ch.Cameras[i])
	}
	for i := range ch.Captures { // behind the cameras: there was no room for one that is new, say
		c := &ch.Captures[i]
		if camera := s.cams.byID[c.Camera]; camera != 0 {
			enter(&s.siteAt(camera).books, c.Outcome)
		}
		s.countJob(c, ch.flights[i] != 0)
		if n := ch.flights[i]; n != 0 {
			s.siteAt(s.slots.at(n).camera).books.InFlight--
			s.removeFlight(n)
		}
	}
	for _, c := range ch.claims {
		s.claim(c.site, c.device, c.claim)
	}
	for i := range ch.open {
		o := &ch.open[i]
		if o.camera == 0 {
			o.camera = s.cams.byID[o.id]
		}
		s.addTask(o.task, o.after)
		s.siteAt(o.camera).changed()
	}
	for i := range ch.issue {
		v := &ch.issue[i]
		if v.camera == 0 {
			v.camera = s.cams.byID[v.id]
		}
		n := s.addFlight(flight{
			nominal: v.nominal, camera: v.camera, rev: v.rev, start: uint32(v.start - v.nominal), deadline: uint32(v.deadline - v.nominal), agent: v.agent, paused: v.paused,
		})
		v.site.books.InFlight++
		s.dispatch(s.slots.at(n))
	}
	for _, m := range ch.move {
		f := s.slots.at(m.flight)
		if m.paused {
			s.recall(f)
		}
		f.paused = m.paused
		s.give(m.flight, m.to)
		s.watch(m.flight)
		s.dispatch(f)
	}
	if len(ch.open) > 0 {
		s.kick()
	}
	if s.idle != nil && s.slots.len() == 0 {
		close(s.idle)
		s.idle = nil
	}
	if s.hub.heard() {
		for i := range ch.Captures {
			c := &ch.Captures[i]
			ch.tell(Event{Kind: "capture", Camera: c.Camera, Site: s.siteOf(c.Camera), Agent: c.Agent})
		}
		if len(ch.Captures) > 0 || len(ch.issue) > 0 || len(ch.drop) > 0 {
			ch.tell(Event{Kind: "books"})
		}
		s.hub.publish(ch.events)
	}
}

// shapedBy notes that a start was moved.
func (s *Scheduler) shapedBy(d time.Duration) {
	s.delayed.n++
	s.delayed.longest = max(s.delayed.longest, d)
}

func (s *Scheduler) siteOf(c fleet.CameraID) fleet.SiteID {
	if n := s.cams.byID[c]; n != 0 {
		return s.siteAt(n).ID
	}
	return ""
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
	// The next start then has nothing to look through.
	if err := s.sumUp(context.WithoutCancel(ctx), true); err != nil && !errors.Is(err, store.ErrTorn) {
		s.log.WarnContext(ctx, "no checkpoint at the end: the next start takes longer", "err", err)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("run scheduler: %w", err)
	}
	return nil
}

// driveTick is the least time between two looks at the wheel: orders leave their
// lead ahead, so a twentieth of a second costs nothing and shares a commit. A
// lead below a second shares less.
const (
	driveTick      = 50 * time.Millisecond
	shortDriveTick = 10 * time.Millisecond
)

// tickOf returns driveTick for the schedules in force.
func (s *Scheduler) tickOf() time.Duration {
	for _, n := range s.inForce {
		if s.revs[n].lead < 20*driveTick {
			return shortDriveTick
		}
	}
	return driveTick
}

func (s *Scheduler) drive(ctx context.Context) error {
	last := time.Now()
	for {
		now := time.Now()
		s.noteStep(ctx, last, now)
		last = now
		s.mu.Lock()
		err := s.advance(ctx, fleet.At(time.Now()))
		next, busy := s.wheel.Next()
		least := s.tickOf()
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
			wait = max(time.Until(next.Time()), least)
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

// clockStep is a step of the wall clock that operators are told of.
const clockStep = 2 * time.Second

// noteStep tells when the wall clock has been set: what follows is right, and
// looks odd.
func (s *Scheduler) noteStep(ctx context.Context, last, now time.Time) {
	step := now.Round(0).Sub(last.Round(0)) - now.Sub(last) // wall minus monotonic
	switch {
	case step > clockStep:
		s.log.WarnContext(ctx, "the clock was set forward: what was due in between follows its schedule's misfire", "step", step.Round(time.Millisecond))
	case step < -clockStep:
		s.log.WarnContext(ctx, "the clock was set back: nothing is asked for a second time, so orders go on when the clock has caught up", "step", step.Round(time.Millisecond))
	}
}

func (s *Scheduler) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sweepEvery is how often what has no timer of its own is looked at.
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
		err := s.handOn(ctx, time.Now())
		again := s.unsettled
		s.mu.Unlock()
		if err == nil && again {
			err = s.settle(ctx)
		}
		if err == nil {
			err = s.sumUp(ctx, false)
		}
		if errors.Is(err, store.ErrTorn) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "the store refused a change: it is tried again", "err", err)
		}
		if n%600 == 0 {
			old := time.Now().Add(-s.opts.Keep)
			// The log still tells of orders whose outcomes age out: it begins
			// anew before they do.
			err := s.sumUp(ctx, true)
			dropped, gone := s.store.DropBefore(old)
			err = errors.Join(err, gone)
			err = errors.Join(err, s.store.Forget(ctx, fleet.At(old), fleet.At(time.Now().Add(-s.opts.GiveUp-25*time.Hour))))
			if err != nil || dropped > 0 {
				s.log.InfoContext(ctx, "captures aged out", "files", dropped, "err", err)
			}
		}
	}
}

// settle does again what ApplySchedules could not finish.
func (s *Scheduler) settle(ctx context.Context) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	if err := s.reconcile(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsettled = false
	return nil
}

// sumUp writes a checkpoint when the log of orders has grown long, or anyway.
func (s *Scheduler) sumUp(ctx context.Context, anyway bool) error {
	s.mu.Lock()
	// While the wheel's changes wait for a store that failed, part of them may be
	// stored beyond through: a replay finds those among what came since.
	if len(s.held.issue)+len(s.held.Captures) > 0 || !anyway && !s.store.Due(s.slots.len()) {
		s.mu.Unlock()
		return nil
	}
	c := s.store.Begin()
	for n := uint32(1); n <= s.slots.used; n++ {
		if f := s.slots.at(n); f.camera != 0 {
			c.Add(s.stored(f))
		}
	}
	c.Books(s.booksBySite())
	s.mu.Unlock()
	return c.Write(context.WithoutCancel(ctx))
}

// Stop ends all tasks: spans close now, orders whose time has not come are
// taken back and leave the books. It returns once all others have their
// outcome, or ctx ends. Tasks open again at the next New.
func (s *Scheduler) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	_, err := s.tick(ctx)
	if err == nil {
		err = s.apply(ctx, &change{Batch: store.Batch{Reconcile: store.Wanted}})
	}
	if err != nil { // the next New would not open what closes from now on
		s.stopping = false
		s.mu.Unlock()
		return fmt.Errorf("stop: %w", err)
	}
	err = s.reconcileSome(ctx, 1, s.cams.slots.used)
	idle := make(chan struct{})
	if s.slots.len() == 0 {
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
		return fmt.Errorf("stop: %d orders have no outcome yet: %w", s.slots.len(), ctx.Err())
	}
}
