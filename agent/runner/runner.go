// Package runner takes due orders to their outcomes: it waits for the moment
// and for their turn, grabs a frame, reads it, tries again where that can help,
// and leaves a camera alone that keeps failing.
//
//	Order ─► start ─► overlap ─► breaker ─► turn ─► Grab ─► Read ─► captured
//	           │         │          │         │       └─retry──┴──► failed(cause)
//	           │         │          │         └► missed(overload)
//	           │         │          └► skipped(backoff)
//	           │         └► skipped(overlap), skipped(replaced)
//	           └─ a camera's orders of one second wait for the latest of their starts and share one frame
//
// What is due lies in one list, and only what is being captured has a
// goroutine. Who goes first is decided by class and age (class.go), what can no
// longer go by the measured capacity (capacity.go), how many go at a time by
// what the site bears (limit.go), and which frame is good
// enough by its verdict (verdict.go): all four without a clock.
package runner

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// A Grabber takes one frame of a camera; *protocols.Mux is one. A ctx that ends
// closes its connection.
type Grabber interface {
	Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error)
}

// A Reader computes a Reading from a frame; *capture.Reader is one.
type Reader interface {
	Read(ctx context.Context, f fleet.Frame) (fleet.Reading, error)
}

// A Judge reads a camera's frames as a Reader does, and says in the reading's
// verdict what is wrong with each, by what it remembers of the camera.
type Judge interface {
	// Judge returns, beside the reading, how to have it remembered, if that is not
	// nil: to be called for the one frame that counts of several that were taken
	// for it. F.At is when the frame came, on the corrected clock.
	Judge(ctx context.Context, c fleet.CameraID, f fleet.Frame) (r fleet.Reading, keep func(), err error)
}

// Clock tells the corrected time and how wrong it may be.
type Clock interface {
	Now() time.Time
	Bound() time.Duration
}

// Options configure a Runner.
type Options struct {
	// Targets tells how to reach a camera when its turn comes; required.
	Targets func(fleet.CameraID) (fleet.Target, bool)
	// Done is told each outcome, once for each order; required. It must not
	// wait, nor call the Runner.
	Done func(fleet.Capture)
	// Judge reads frames in place of the Reader; default: none, and frames have
	// no verdict.
	Judge Judge

	Width      int                 // grabs at a time, for good; default: 32 at first, then as many as the site bears (limit.go)
	MaxWidth   int                 // and at most; default Width if that is given, else 1024
	Unproven   int                 // of these, for cameras that never gave a picture; default half of those at a time
	Suspects   int                 // of these, for cameras whose last outcome was a failure; default a quarter
	Readers    int                 // frames decoded at a time; default the number of processors
	Backoff    time.Duration       // ceiling of the first wait between tries, where no schedule says and the camera is not slower; doubled each time; default 200ms
	MaxBackoff time.Duration       // ceiling of all waits between tries, where no schedule says; default 5s
	Failures   int                 // failed outcomes in a row that open a camera's breaker; default 5
	Open       time.Duration       // for how long at first, doubled each time its trial fails; default 10s
	MaxOpen    time.Duration       // and at most; default 2m
	Clock      Clock               // default: the box's clock, taken as exact
	Rand       func(n int64) int64 // a number in [0, n); default math/rand/v2's
	Log        *slog.Logger        // default: none
}

// Runner captures. Make it with New and run it with Run; its other methods may
// be called at once, at any time.
type Runner struct {
	grabber Grabber
	reader  Reader
	opts    Options
	readers *semaphore.Weighted
	wake    chan struct{} // capacity 1: a signal that something changed

	mu       sync.Mutex
	working  sync.WaitGroup
	cameras  map[fleet.CameraID]*camera
	tasks    map[task][]*member // begun and not ended, oldest first
	groups   []*group           // all that have members, in no order
	used     int                // slots
	unproven int
	suspects int
	decoding int // frames that wait to be decoded
	limit    limit
	capacity capacity
	busy     bool      // all slots are taken, and someone waits for one
	pressed  bool      // someone waits whom only the limit keeps
	shed     time.Time // when shedding was last thought about
	ended    []fleet.Capture
}

type task struct {
	camera   fleet.CameraID
	schedule fleet.ScheduleID
}

// camera is what is known of one camera's behaviour.
type camera struct {
	busy     bool      // someone grabs
	users    int       // groups that use this entry now
	proven   bool      // it gave a picture once
	failures int       // failed outcomes in a row
	until    time.Time // breaker open until then
	open     time.Duration
	trial    bool          // one order is trying the half-open breaker
	latency  time.Duration // of a grab that gave a frame, smoothed; 0 before the first
}

// group is what one frame will answer: the orders of one camera whose starts
// lie in the same second, at most one of each schedule.
type group struct {
	id      fleet.CameraID
	camera  *camera
	second  int64
	members []*member
	start   fleet.Instant // latest of its members' starts, or when it is tried again
	running bool
	reading fleet.Instant // when the frame arrived that is being read; 0 when none is
	kind    slot
	taken   time.Time // its slot, for the try under way
	trial   bool
	cancel  context.CancelFunc // of the try under way

	began    time.Time // of the first try; zero before
	attempts uint8
	retakes  uint8
	last     fleet.Capture // what the last try came to, or the best that one brought
	spare    func()        // has the judge remember the picture of last; nil when there is nothing to
}

// member is one order on its way.
type member struct {
	fleet.Order
	schedule *calendar.Schedule // nil when the agent does not know it
	group    *group
	since    fleet.Instant // it has waited since: its start, or that of the order whose place it took
	begun    bool          // its start has come, and overlap let it in
	late     bool          // it came after its deadline
	ended    bool
	delay    time.Duration // from its nominal time to the first try
}

// New returns a runner over g and r.
func New(g Grabber, r Reader, o Options) (*Runner, error) {
	o.MaxWidth = cmp.Or(o.MaxWidth, o.Width, mostWidth)
	o.Width = cmp.Or(o.Width, min(firstWidth, o.MaxWidth))
	o.Readers = cmp.Or(o.Readers, runtime.GOMAXPROCS(0))
	o.Backoff = cmp.Or(o.Backoff, 200*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 5*time.Second)
	o.Failures = cmp.Or(o.Failures, 5)
	o.Open = cmp.Or(o.Open, 10*time.Second)
	o.MaxOpen = cmp.Or(o.MaxOpen, 2*time.Minute)
	if o.Clock == nil {
		o.Clock = boxClock{}
	}
	if o.Rand == nil {
		o.Rand = rand.Int64N
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if min(o.Width, o.Readers) < 1 || min(o.Unproven, o.Suspects) < 0 || o.MaxWidth < o.Width {
		return nil, fmt.Errorf("runner: width %d to %d, unproven %d, suspects %d, readers %d: each must be at least 1", o.Width, o.MaxWidth, o.Unproven, o.Suspects, o.Readers)
	}
	if o.Targets == nil || o.Done == nil {
		return nil, fmt.Errorf("runner: Targets and Done must be given")
	}
	return &Runner{
		grabber: g, reader: r, opts: o,
		readers: semaphore.NewWeighted(int64(o.Readers)),
		wake:    make(chan struct{}, 1),
		cameras: make(map[fleet.CameraID]*camera),
		tasks:   make(map[task][]*member),
		limit:   newLimit(o.Width, o.MaxWidth),
	}, nil
}

// Waiting for a key frame costs a connection and some memory and no time of a
// processor (less than 0.35 MB, protocols/rtsp's BenchmarkWaiting), so that a
// thousand at a time fit a small box.
const (
	firstWidth = 32
	mostWidth  = 1024
)

// Submit takes an order to its outcome, which Done is told, never before its
// start, one grab at a time per camera, and none that begins after the
// deadline. Orders of a camera that are to share a frame have to be here before
// the latest of their starts. The schedule says the policies; nil is fine.
func (r *Runner) Submit(o fleet.Order, s *calendar.Schedule) {
	r.mu.Lock()
	m := &member{Order: o, schedule: s, since: o.Start(), late: int64(o.Deadline) <= r.opts.Clock.Now().UnixMilli()}
	r.join(m)
	r.mu.Unlock()
	signal(r.wake)
}

// join puts m into the group of its second, or into a new one. Callers hold mu.
func (r *Runner) join(m *member) {
	second := floorDiv(int64(m.Start()), 1000)
	for _, g := range r.groups {
		if g.id == m.Camera && g.second == second && !g.running && g.began.IsZero() && !g.has(m.Schedule) {
			m.group = g
			g.members = append(g.members, m)
			g.start = max(g.start, m.Start())
			return
		}
	}
	c := r.cameras[m.Camera]
	if c == nil {
		c = &camera{}
		r.cameras[m.Camera] = c
	}
	c.users++
	m.group = &group{id: m.Camera, camera: c, second: second, members: []*member{m}, start: m.Start()}
	r.groups = append(r.groups, m.group)
}

func (g *group) has(s fleet.ScheduleID) bool {
	for _, m := range g.members {
		if m.Schedule == s {
			return true
		}
	}
	return false
}

// Run captures what is submitted, until ctx is done. Orders without an outcome
// by then have none: they are still to be captured.
func (r *Runner) Run(ctx context.Context) error {
	defer r.working.Wait()
	for {
		wait := r.step(ctx)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		case <-r.wake:
		}
		t.Stop()
	}
}

// Load returns how many cameras are being spoken to, how many orders are due
// and wait for their turn, how many frames wait to be decoded, and the captures
// per second that this box was measured to do; 0 while that is not known.
func (r *Runner) Load() (capturing, queue, decoding int, perSecond float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := fleet.At(r.opts.Clock.Now())
	for _, g := range r.groups {
		if !g.running && g.start <= now {
			queue += len(g.members)
		}
	}
	return r.used, queue, r.decoding, r.capacity.perSecond(r.limit.now())
}

// Concurrency is how many cameras are spoken to at a time, and why not more.
type Concurrency struct {
	Used    int
	Limit   int       // as many as the site was seen to bear, or is being tried with
	Most    int       // as many as are ever tried
	Cuts    int       // how often timeouts and refusals halved the limit
	LastCut time.Time // zero before the first
}

// Concurrency returns how many cameras are spoken to at a time.
func (r *Runner) Concurrency() Concurrency {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Concurrency{Used: r.used, Limit: r.limit.now(), Most: r.limit.most, Cuts: r.limit.cuts, LastCut: r.limit.cut}
}

// CameraState is what a Runner knows of one camera.
type CameraState struct {
	Proven   bool          // it gave a picture since the start
	Failures int           // failed outcomes in a row
	LeftFor  time.Duration // it is left alone for so long yet; 0 when it is not
	Latency  time.Duration // of a grab that gave a frame, smoothed; 0 before the first
}

// Camera returns what is known of a camera.
func (r *Runner) Camera(id fleet.CameraID) CameraState {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.cameras[id]
	if c == nil {
		return CameraState{}
	}
	s := CameraState{Proven: c.proven, Failures: c.failures, Latency: c.latency}
	if !c.until.IsZero() {
		s.LeftFor = max(0, time.Until(c.until))
	}
	return s
}

// Forget drops what is known of a camera's failures: its configuration changed.
func (r *Runner) Forget(id fleet.CameraID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.cameras[id]; c != nil {
		c.proven, c.failures, c.until, c.open, c.latency = false, 0, time.Time{}, 0, 0
		r.tidy(id, c)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

type boxClock struct{}

func (boxClock) Now() time.Time       { return time.Now() }
func (boxClock) Bound() time.Duration { return 0 }
