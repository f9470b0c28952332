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
	current map[uint64]bool // versions of creds
	credSeq uint64
	rules   []rule

	disputes map[disputed]*dispute
	masks    map[fleet.CameraID]*mask // also those that were taken off
	lists    chan struct{}            // closed when an agent has taken its list of cameras, or left; nil while nobody waits

	nonce  uint64
	roster uint64 // version of the newest camera list or standing orders

	// Held for reading while a thumbnail is looked at and kept, and for writing
	// while one is wiped: none that was looked at before its camera's mask changed
	// is kept behind the wiping. Taken before mu.
	showing sync.RWMutex
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
		keys: map[string]store.Key{}, tokens: map[[32]byte]store.Token{}, creds: map[string]store.Credentials{}, current: map[uint64]bool{}, disputes: map[disputed]*dispute{},
		masks: map[fleet.CameraID]*mask{},
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
