// Package swarm is thousands of simulated agents in one process, for benches.
// To the centre they are real: each has its own connection, certificate and
// stream, and speaks the whole protocol.
//
//	Recv ─► Signed ─► verify ─► orders ─► one wheel ─► due ─► record, packed once ─► batch
//	         (a goroutine per agent)      (one goroutine)                              │
//	Recv ─► ReportStored ─► forgotten                      Report ◄── a few senders ◄──┘
//
// What is simulated is the box: the camera answers at once and never fails, the
// frame is random bits, and orders and outcomes are held in memory. An order is
// captured when its time has come on the clock, never before, and one whose
// deadline has passed by then is missed(deadline), as on a real agent. Reports
// wait as a real agent's do for its disk: until 64 outcomes are there, or the
// first is 250 ms old. Unlike a real agent, one does not repeat a report that
// stays unanswered while the stream is up.
package swarm

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// Options configure a Swarm.
type Options struct {
	Server    string        // HOST:PORT of the agents' door; required
	Trusting  bool          // do not verify instructions' signatures
	Batch     int           // outcomes in a report; default 64, as agent/uplink
	Window    int           // reports in flight on a stream; default 4, as agent/uplink
	Linger    time.Duration // an outcome waits this long for others; default 250 ms, as agent/store
	Heartbeat time.Duration // between clock probes and loads; default 10 s, as agent/uplink
	Dialing   int           // agents that connect at a time; default 32
	From      fleet.Instant // delays and acknowledgements of nominal times in [From, Until) are measured
	Until     fleet.Instant // 0 = no end
	Sample    time.Duration // Sent is called at most this often; default: for each report
	Sent      func(Sent)    // called when a report leaves; must not block
	Log       *slog.Logger  // default: none
}

// Sent says that an outcome is on its way.
type Sent struct {
	Camera fleet.CameraID `json:"camera"`
	At     fleet.Instant  `json:"at"`   // Capture.At
	Sent   int64          `json:"sent"` // Unix nanoseconds
}

// Stats are what a swarm has done so far.
type Stats struct {
	Agents     int       `json:"agents"`      // connected
	Links      uint64    `json:"links"`       // streams opened
	FirstOrder int64     `json:"first_order"` // Unix nanoseconds; 0 = none came yet
	Orders     uint64    `json:"orders"`      // taken
	Repeated   uint64    `json:"repeated"`    // orders that were held already
	Recalled   uint64    `json:"recalled"`
	Refused    uint64    `json:"refused"` // instructions
	Captured   uint64    `json:"captured"`
	Missed     uint64    `json:"missed"`
	Reports    uint64    `json:"reports"` // sent
	Acked      uint64    `json:"acked"`   // outcomes
	Delay      Quantiles `json:"delay_ms"`
	Ack        Quantiles `json:"ack_ms"`
}

// Swarm is the agents. Make it with New, then Run it, once.
type Swarm struct {
	opts   Options
	log    *slog.Logger
	roots  *x509.CertPool
	orders ed25519.PublicKey
	agents []agent
	outbox chan *agent   // capacity: one place per agent, each is in it once at most
	wake   chan struct{} // capacity 1: something is due earlier than the driver sleeps

	mu    sync.Mutex // may be taken while an agent's is held, not the other way round
	wheel *wheel.Wheel
	slots []slot
	free  []uint32
	until fleet.Instant // the driver sleeps until then

	stats    sync.Mutex // after all others
	counts   Stats
	delay    Histogram
	ack      Histogram
	lastSent time.Time
}

// slot is an order that waits for its time.
type slot struct {
	order fleet.Order
	agent uint32
}

// A wheel's key is a kind and an index: of a slot, or of an agent.
const (
	keyOrder  = 0
	keyLinger = 1 << 30
	keyBeat   = 2 << 30
	keyKind   = 3 << 30
)

// senders is how many goroutines send reports: Send packs and encrypts, so more
// than processors are of no use, but one may wait for a slow stream.
const senders = 8

// New returns a swarm of the roster's agents. It checks the keys; Run connects.
func New(r Roster, o Options) (*Swarm, error) {
	o.Batch = cmp.Or(o.Batch, 64)
	o.Window = cmp.Or(o.Window, 4)
	o.Linger = cmp.Or(o.Linger, 250*time.Millisecond)
	o.Heartbeat = cmp.Or(o.Heartbeat, 10*time.Second)
	o.Dialing = cmp.Or(o.Dialing, 32)
	o.Until = cmp.Or(o.Until, fleet.At(time.Now().AddDate(100, 0, 0)))
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	roots, err := r.Roots()
	if err != nil {
		return nil, err
	}
	s := &Swarm{
		opts: o, log: o.Log, roots: roots, orders: r.OrderKey,
		agents: make([]agent, len(r.Agents)), outbox: make(chan *agent, len(r.Agents)), wake: make(chan struct{}, 1),
		wheel: wheel.New(fleet.At(time.Now())),
	}
	for i := range s.agents {
		a := &s.agents[i]
		a.s, a.index, a.id, a.held = s, uint32(i), &r.Agents[i], map[fleet.Occurrence]uint32{}
	}
	return s, nil
}

// Run connects all agents and works until ctx ends; then they close their
// streams in order. What is not reported by then is lost.
func (s *Swarm) Run(ctx context.Context) error {
	// Streams end with a word of ours, not with ctx.
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	dialing := make(chan struct{}, s.opts.Dialing)
	var agents sync.WaitGroup
	for i := range s.agents {
		agents.Go(func() { s.agents[i].run(ctx, life, dialing) })
	}
	work, stop := context.WithCancel(life)
	defer stop()
	var g errgroup.Group
	g.Go(func() error { s.drive(work); return nil })
	for range senders {
		g.Go(func() error { s.deliver(work); return nil })
	}
	<-ctx.Done()
	for i := range s.agents {
		s.agents[i].hangUp()
	}
	patience := time.AfterFunc(hangUpWait, cut)
	defer patience.Stop()
	agents.Wait()
	stop()
	return g.Wait()
}

// hangUpWait is how long the centre may take to end streams that we closed.
const hangUpWait = 10 * time.Second

// Stats returns what was done so far.
func (s *Swarm) Stats() Stats {
	s.stats.Lock()
	defer s.stats.Unlock()
	c := s.counts
	c.Delay, c.Ack = s.delay.Quantiles(), s.ack.Quantiles()
	return c
}

func (s *Swarm) count(f func(*Stats)) {
	s.stats.Lock()
	defer s.stats.Unlock()
	f(&s.counts)
}

// at files a key; the driver is woken when it sleeps for longer.
func (s *Swarm) at(t fleet.Instant, key uint32) {
	s.mu.Lock()
	s.wheel.Add(t, key)
	early := t < s.until
	s.mu.Unlock()
	if early {
		s.kick()
	}
}

func (s *Swarm) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drive fires what is due.
func (s *Swarm) drive(ctx context.Context) {
	var due []slot
	var keys []uint32
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		now := time.Now()
		due, keys = due[:0], keys[:0]
		s.mu.Lock()
		s.wheel.Advance(fleet.At(now), func(batch []wheel.Due) {
			for _, d := range batch {
				if d.Key&keyKind != keyOrder {
					keys = append(keys, d.Key)
					continue
				}
				if sl := &s.slots[d.Key]; sl.order.Deadline != 0 { // else it was recalled
					due = append(due, *sl)
					sl.order = fleet.Order{}
				}
				s.free = append(s.free, d.Key)
			}
		})
		next, ok := s.wheel.Next()
		if !ok {
			next = fleet.At(now.Add(time.Hour))
		}
		s.until = next
		s.mu.Unlock()
		for chunk := range slices.Chunk(due, captureChunk) {
			s.capture(chunk, time.Now())
		}
		for _, k := range keys {
			a := &s.agents[k&^keyKind]
			switch k & keyKind {
			case keyLinger:
				a.close()
			case keyBeat:
				a.beat()
			}
		}
		timer.Reset(max(time.Until(next.Time()), time.Millisecond))
	}
}

// captureChunk is how many captures share one look at the clock: packing them
// takes about 0.1 ms.
const captureChunk = 256

// capture takes the pictures that are due.
func (s *Swarm) capture(due []slot, now time.Time) {
	var missed uint64
	s.stats.Lock()
	for i := range due {
		o := &due[i].order
		if o.Nominal >= s.opts.From && o.Nominal < s.opts.Until {
			s.delay.Add(now.Sub(o.Nominal.Time()))
		}
		if late(o, now) {
			missed++
		}
	}
	s.counts.Missed += missed
	s.counts.Captured += uint64(len(due)) - missed
	s.stats.Unlock()
	for i := range due {
		s.agents[due[i].agent].take(&due[i].order, now)
	}
}

func late(o *fleet.Order, now time.Time) bool { return fleet.At(now) >= o.Deadline }

// deliver sends what agents have to say.
func (s *Swarm) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-s.outbox:
			a.send()
		}
	}
}
