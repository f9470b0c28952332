package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	// saveEvery is how often what was learned of a camera is noted at most: a
	// power cut takes no more than ten minutes of it, and a camera's note of
	// quality.StateBytes costs the disk 21 bytes a second.
	saveEvery = 10 * time.Minute

	// sameShot is within which time the same bytes are the same shot: cameras
	// answer who asks again soon with the snapshot that they have. Later they are
	// a picture that stands still.
	sameShot = 5 * time.Second

	// maxLate is how long after the next one a frame may come that was taken
	// before it. What is older is none: the box's clock was set back.
	maxLate = 10 * time.Minute

	// maxReads is how often a frame is read when its camera's mask changes
	// meanwhile: people do not change masks twice in the tenth of a second that a
	// frame takes.
	maxReads = 3
)

// LookReader reads frames under a mask, which may be nil, and has them judged;
// *capture.Reader is one.
type LookReader interface {
	ReadJudged(ctx context.Context, f fleet.Frame, m *fleet.Mask, judge capture.Judge) (fleet.Reading, error)
}

// Notes remember what was learned of cameras; *store.Store is one.
type Notes interface {
	Note(t store.Topic, key string) ([]byte, error)
	SetNote(t store.Topic, key string, body []byte)
	Sync(ctx context.Context) error
}

// LooksOptions configure Looks.
type LooksOptions struct {
	// Cameras that are remembered in memory at a time, 13 kB each; default 4096.
	// Beyond it the one that was judged longest ago gives its place, and is read
	// from its note when its turn comes.
	Cameras int
	Judge   quality.Options
	Masks   Masks        // what must not be seen; default: what the store says of the Agent that they are given to
	Log     *slog.Logger // default: none
}

// Looks knows how the pictures of each camera usually are, and judges frames by
// it. It learns from the frames that are kept, in memory, and notes what it
// learned in the store.
//
//	note ──first frame──► memory ──Judge──► verdict ──keep──► memory
//	  ▲                      │
//	  └─ every 10 minutes ───┴─ at the end, after Relearn
type Looks struct {
	reader LookReader
	notes  Notes
	opts   LooksOptions
	states sync.Pool // *quality.State, whose content is void

	mu      sync.Mutex
	cameras map[fleet.CameraID]*look
	zones   map[fleet.CameraID]*time.Location
}

// look is what is known of one camera.
type look struct {
	used time.Time // guarded by Looks.mu

	mu      sync.Mutex     // taken after Looks.mu, if both are
	state   *quality.State // nil until its note was looked for
	mask    fleet.MaskSum  // what was hidden of the frames that it was learned from
	turn    uint64         // rises with each new state: who judged by an older one keeps nothing
	at      time.Time      // of the last frame that was kept
	sum     [sha256.Size]byte
	verdict fleet.Verdict
	unsaved bool
	saved   time.Time // or loaded
	gone    bool      // it gave up its place
}

// NewLooks returns Looks that judge what r reads.
func NewLooks(r LookReader, n Notes, o LooksOptions) *Looks {
	o.Cameras = cmp.Or(o.Cameras, 4096)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Looks{reader: r, notes: n, opts: o, cameras: make(map[fleet.CameraID]*look)}
	l.states.New = func() any { return new(quality.State) }
	return l
}

// hidden tells what must not be seen of a camera.
func (l *Looks) hidden(c fleet.CameraID) (*fleet.Mask, error) {
	if l.opts.Masks == nil {
		return nil, nil //nolint:nilnil // no mask is what most cameras have
	}
	return l.opts.Masks(c)
}

// SetZones tells the time zones of cameras: what is usual is known by the hour
// of their day. Of others it is the hour of UTC.
func (l *Looks) SetZones(zones map[fleet.CameraID]*time.Location) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zones = zones
}

// Judge implements runner.Judge. Frames of one camera are judged in the order
// they come in; one that was taken before the last that was kept teaches
// nothing. What the camera's mask hides enters nothing of the reading: when the
// mask changes meanwhile, the frame is read once more, and how the camera looks
// is learned anew. A camera whose mask is not known is not read.
func (l *Looks) Judge(ctx context.Context, c fleet.CameraID, f fleet.Frame) (res fleet.Reading, keep func(), err error) {
	k, zone := l.camera(c)
	f.At = f.At.In(zone)
	for range maxReads {
		m, err := l.hidden(c)
		if err != nil {
			return fleet.Reading{}, nil, err
		}
		sum := m.Sum()
		keep = nil
		res, err = l.reader.ReadJudged(ctx, f, m, func(res *fleet.Reading, x quality.Sample) (v fleet.Verdict) {
			if now, err := l.hidden(c); err != nil || now.Sum() != sum {
				return v // the frame teaches nothing
			}
			v, keep = l.judge(k, c, sum, res.SHA256, x)
			return v
		})
		if err != nil {
			return res, nil, err
		}
		switch now, err := l.hidden(c); {
		case err != nil:
			return fleet.Reading{}, nil, err
		case now.Sum() == sum:
			return res, keep, nil
		}
	}
	return fleet.Reading{}, nil, fleet.Errorf(fleet.CauseMask, "the camera's privacy mask changed %d times while a frame was read", maxReads)
}

// camera returns the entry of a camera, in the place of another if need be, and
// its zone.
func (l *Looks) camera(c fleet.CameraID) (*look, *time.Location) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.cameras[c]
	if k == nil {
		if len(l.cameras) >= l.opts.Cameras {
			l.evict()
		}
		k = &look{}
		l.cameras[c] = k
	}
	k.used = time.Now()
	if zone := l.zones[c]; zone != nil {
		return k, zone
	}
	return k, time.UTC
}

// evict takes the place of the camera that was judged longest ago. Callers hold
// mu, so that nobody reads its note before it is there.
func (l *Looks) evict() {
	var oldest fleet.CameraID
	var first *look
	for c, k := range l.cameras {
		if first == nil || k.used.Before(first.used) {
			oldest, first = c, k
		}
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	l.save(oldest, first)
	first.gone = true
	delete(l.cameras, oldest)
}

func (l *Looks) judge(k *look, c fleet.CameraID, mask fleet.MaskSum, sum [sha256.Size]byte, x quality.Sample) (fleet.Verdict, func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l.load(k, c)
	if k.mask != mask {
		l.remask(k, c, mask)
	}
	if k.verdict.Fault != fleet.NotJudged && sum == k.sum && x.At.Sub(k.at).Abs() < sameShot {
		return k.verdict, nil
	}
	next := l.states.Get().(*quality.State)
	var said quality.Verdict
	said, *next = quality.Judge(l.opts.Judge, *k.state, x)
	v, turn, at := said.Record(), k.turn, x.At
	return v, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.turn != turn || k.gone || at.Before(k.at) && k.at.Sub(at) < maxLate {
			l.states.Put(next)
			return
		}
		l.states.Put(k.state)
		k.state, k.at, k.sum, k.verdict, k.unsaved = next, at, sum, v, true
		k.turn++
	}
}

// load reads a camera's note, once. What cannot be read is learned anew.
func (l *Looks) load(k *look, c fleet.CameraID) {
	if k.state != nil {
		return
	}
	k.state, k.saved = l.states.Get().(*quality.State), time.Now()
	*k.state = quality.State{}
	b, err := l.notes.Note(store.Looks, c.String())
	if err == nil && b != nil {
		k.mask, b = maskOf(b)
		err = k.state.UnmarshalBinary(b)
	}
	if err != nil {
		*k.state, k.mask = quality.State{}, 0
		l.opts.Log.Warn("how a camera usually looks cannot be read, it is learned anew", "camera_id", c, "err", err)
	}
}

// save notes what was learned of a camera since it was noted last. Callers hold
// k.mu.
func (l *Looks) save(c fleet.CameraID, k *look) {
	if k.gone || !k.unsaved {
		return
	}
	b, err := k.state.MarshalBinary() // a fresh one: the store keeps it
	if err != nil {
		l.opts.Log.Error("how a camera usually looks cannot be noted", "camera_id", c, "err", err)
		return
	}
	if k.mask != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(k.mask))
	}
	l.notes.SetNote(store.Looks, c.String(), b)
	k.unsaved, k.saved = false, time.Now()
}

// remask forgets how a camera looked under another mask: all its numbers, and
// the background, are of another picture now. Callers hold k.mu.
func (l *Looks) remask(k *look, c fleet.CameraID, mask fleet.MaskSum) {
	*k.state, k.mask = quality.State{}, mask
	k.verdict, k.unsaved = fleet.Verdict{}, true
	k.turn++
	l.save(c, k)
}

// maskOf takes the mask's sum off a note, at whose end it is when there was one.
func maskOf(note []byte) (fleet.MaskSum, []byte) {
	state, sum := quality.CutState(note)
	if len(sum) != 8 {
		return 0, note
	}
	return fleet.MaskSum(binary.BigEndian.Uint64(sum)), state
}

// Run notes what is learned, now and then, until ctx is done. What is learned
// after that is noted by Save.
func (l *Looks) Run(ctx context.Context) error {
	t := time.NewTicker(saveEvery / 20) // so that cameras do not come all at once
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-t.C:
			l.each(func(c fleet.CameraID, k *look) {
				if now.Sub(k.saved) >= saveEvery {
					l.save(c, k)
				}
			})
		}
	}
}

// Save notes all that was learned. It is durable with the store's next commit.
func (l *Looks) Save() { l.each(l.save) }

func (l *Looks) each(f func(fleet.CameraID, *look)) {
	l.mu.Lock()
	all := make(map[fleet.CameraID]*look, len(l.cameras))
	for c, k := range l.cameras {
		all[c] = k
	}
	l.mu.Unlock()
	for c, k := range all {
		k.mu.Lock()
		f(c, k)
		k.mu.Unlock()
	}
}

// Relearn forgets how a camera looked, and returns once that is durable: its
// next ordinary frames say how it looks from now on.
func (l *Looks) Relearn(ctx context.Context, c fleet.CameraID) (fleet.RelearnResult, error) {
	r, ok := fleet.RelearnResult{}, false
	for !ok { // its place may be given up meanwhile
		k, _ := l.camera(c)
		r, ok = l.forget(c, k)
	}
	if err := l.notes.Sync(ctx); err != nil {
		return r, fmt.Errorf("note that camera %s is learned anew: %w", c, err)
	}
	return r, nil
}

func (l *Looks) forget(c fleet.CameraID, k *look) (r fleet.RelearnResult, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return r, false
	}
	l.load(k, c)
	if lasting := k.state.Lasting(); lasting != quality.Ok {
		r.Lasting, r.Since = fleet.Fault(lasting.String()), k.state.Since().UTC()
	}
	*k.state = k.state.Relearned()
	k.verdict, k.unsaved = fleet.Verdict{}, true
	k.turn++
	l.save(c, k)
	return r, true
}
