package protocols

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/httpcam"
	"github.com/shutterfleet/shutterfleet/protocols/onvif"
	rtspcam "github.com/shutterfleet/shutterfleet/protocols/rtsp"
	"github.com/shutterfleet/shutterfleet/protocols/vendor"
)

const (
	// grabWait bounds a grab or a description whose context has no deadline.
	grabWait = 30 * time.Second

	// learnedFor is how long a dearer way is kept before the cheapest is looked
	// for again: a camera that refused a snapshot while it was busy should not
	// be streamed from for ever.
	learnedFor     = 30 * time.Minute
	learnedForMost = 8 * time.Hour // when looking was in vain again and again

	// describedAgain is the least time between two descriptions of one device
	// for failed grabs.
	describedAgain = 30 * time.Second

	// maxLearned bounds what is remembered; an agent serves far fewer cameras.
	maxLearned = 8192
)

// Options configure a Mux.
type Options struct {
	Guard         *guard.Guard     // default: one that allows no other host
	Codecs        []fleet.Codec    // what can be decoded here; default JPEG and PNG
	Lessons       Lessons          // keeps what is learned over restarts; default: nothing does
	BasicOverHTTP bool             // send Basic logins in clear over plain http and rtsp
	Now           func() time.Time // the agent's corrected clock; default time.Now
	Log           *slog.Logger     // default: discards

	// Evidence tells what discovery knows of who made a device; default: nothing.
	Evidence func(device string) vendor.Evidence
}

// Mux is a Describer and a Grabber over all protocols. It learns which way
// works for which camera:
//
//	what worked ─► snapshot ─► mjpeg ─► rtsp ─► rtsp, undecodable here
//	                  ▲ an ONVIF endpoint is first resolved by a cached description
//
// A camera has one grab at a time. It is safe for use by several goroutines.
type Mux struct {
	guard *guard.Guard
	onvif Describer
	maker Describer // by the makers' own calls; nil: not asked
	grab  map[fleet.Protocol]Grabber
	opts  Options

	turns   turns
	places  places
	learned bounded[lesson]      // by camera
	records bounded[record]      // by camera
	known   bounded[description] // by device
}

// lesson is the way that worked last.
type lesson struct {
	way  way
	at   time.Time
	keep time.Duration // for how long from then no cheaper way is looked for
}

type description struct {
	device fleet.Device
	host   string // which answered: its addresses may lead nowhere else
	at     time.Time
}

// New returns a Mux over ONVIF, RTSP and HTTP.
func New(o Options) *Mux { return newMux(o, nil, nil, nil) }

// newMux joins the parts; a nil part is the real one, tests bring their own.
func newMux(o Options, describer Describer, rtsp, http Grabber) *Mux {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Guard == nil {
		o.Guard = guard.New(guard.Options{Log: o.Log, Now: o.Now})
	}
	if o.Codecs == nil {
		o.Codecs = []fleet.Codec{fleet.JPEG, fleet.PNG}
	}
	var maker Describer
	if describer == nil {
		maker = vendor.New(o.Guard, vendor.Options{Evidence: o.Evidence, BasicOverHTTP: o.BasicOverHTTP, Log: o.Log})
		describer = onvif.New(o.Guard, onvif.Options{Now: o.Now, Log: o.Log})
	}
	if rtsp == nil {
		rtsp = rtspcam.New(o.Guard, rtspcam.Options{BasicInClear: o.BasicOverHTTP, Now: o.Now, Log: o.Log})
	}
	if http == nil {
		http = httpcam.New(o.Guard, httpcam.Options{BasicOverHTTP: o.BasicOverHTTP, Now: o.Now, Log: o.Log})
	}
	return &Mux{
		guard:   o.Guard,
		onvif:   describer,
		maker:   maker,
		grab:    map[fleet.Protocol]Grabber{fleet.Snapshot: http, fleet.MJPEG: http, fleet.RTSP: rtsp},
		opts:    o,
		places:  places{now: o.Now},
		learned: bounded[lesson]{size: maxLearned},
		records: bounded[record]{size: maxLearned},
		known:   bounded[description]{size: maxLearned},
	}
}

// Guard returns the guard that all protocols go through.
func (m *Mux) Guard() *guard.Guard { return m.guard }

// Grab takes one frame by the cheapest way that works. When a way fails, the
// next is tried in the time that is left; but after a refused login the others
// are only asked without one, so that no camera is locked. The error names
// every way that was tried and has the most telling cause.
func (m *Mux) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	if t.Device == "" {
		t.Device = deviceOf(t)
	}
	key := keyOf(t.Device, t.Source)
	leave, err := m.turns.take(ctx, key)
	if err != nil {
		return fleet.Frame{}, err
	}
	defer leave()
	done, err := m.places.take(ctx, t.Device)
	if err != nil {
		return fleet.Frame{}, err
	}
	m.recall(ctx, t)
	g := &grabbing{mux: m, target: t, key: key, tried: make(map[fleet.Endpoint]bool)}
	began := time.Now()
	f, err := g.run(ctx)
	done(g.refused && err != nil)
	if !errors.Is(ctx.Err(), context.Canceled) {
		m.noted(ctx, t, time.Since(began), err) // a caller that gave up says nothing of the camera
	}
	return f, err
}

// grabbing is one call of Grab.
type grabbing struct {
	mux      *Mux
	target   fleet.Target
	key      string
	tried    map[fleet.Endpoint]bool
	errs     []failure
	bare     bool // a login was refused: ask without one from here on
	stopped  bool // nothing more is worth a try
	refused  bool // the device had no connection left
	fallback *fleet.Frame
	via      way
}

type failure struct {
	what string
	err  *fleet.CameraError
}

func (g *grabbing) run(ctx context.Context) (fleet.Frame, error) {
	own := plain(g.target)
	ask := services(g.target)
	if l, ok := g.mux.learned.get(g.key); ok && g.mux.opts.Now().Sub(l.at) < l.keep && g.mux.stillKnown(l.way, g.target) {
		if f, ok := g.try(ctx, []way{l.way}, true); ok {
			return f, nil
		}
	}
	if g.target.Source == "" || len(ask) == 0 {
		cheap := cheapest(own, g.mux.opts.Codecs)
		if len(ask) > 0 {
			// A stream's address is given, but the device may know a cheaper way.
			cheap = slices.DeleteFunc(cheap, func(w way) bool { return w.endpoint.Protocol == fleet.RTSP })
		}
		if f, ok := g.try(ctx, cheap, len(ask) > 0); ok {
			return f, nil
		}
	}
	if len(ask) > 0 && !g.stopped {
		if f, ok := g.resolved(ctx, own); ok {
			return f, nil
		}
	}
	if g.fallback != nil {
		g.mux.learn(g.key, g.via)
		return *g.fallback, nil
	}
	return fleet.Frame{}, g.failure()
}

// resolved tries the ways that the device itself names, by the description at
// hand first, then by a new one.
func (g *grabbing) resolved(ctx context.Context, own []way) (fleet.Frame, bool) {
	// After a failure of a way that worked before, the description is in doubt.
	for fresh := len(g.errs) > 0; ; fresh = true {
		d, host, old, err := g.mux.description(ctx, g.target, fresh, g.bare)
		var ways []way
		if err == nil {
			var refused []string
			ways, refused, err = described(g.mux.guard, d, host, g.target)
			for _, h := range refused {
				g.fail("onvif", fleet.Errorf(fleet.CauseGuarded, "the device names an address on another host, %q: allow it for the agent if it is right", h))
			}
			if err == nil && len(ways) == 0 && d.State != fleet.DeviceOK && d.State != fleet.DeviceSkewed {
				err = fleet.Errorf(causeOf(d.State), "%s", cmp.Or(d.Reason, string(d.State)))
			}
			if err == nil && len(ways) == 0 {
				err = fleet.Errorf(fleet.CauseNotFound, "the device names no address for a picture or a stream")
			}
		}
		if err != nil {
			g.fail("onvif", err)
			ways = own
		}
		if f, ok := g.try(ctx, cheapest(ways, g.mux.opts.Codecs), false); ok {
			return f, true
		}
		if !old || g.stopped || ctx.Err() != nil || g.fallback != nil {
			return fleet.Frame{}, false
		}
	}
}

// try goes through ways until one gives a frame. More says that others follow,
// so that even the last may not use up the time.
func (g *grabbing) try(ctx context.Context, ways []way, more bool) (fleet.Frame, bool) {
	ways = slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return g.tried[w.endpoint] })
	for i, w := range ways {
		if g.stopped {
			return fleet.Frame{}, false
		}
		if ctx.Err() != nil {
			if len(g.errs) == 0 {
				g.fail(string(w.endpoint.Protocol), guard.CameraError(ctx.Err(), ""))
			}
			g.stopped = true
			return fleet.Frame{}, false
		}
		g.tried[w.endpoint] = true
		f, err := g.once(ctx, w, more || i+1 < len(ways))
		if err == nil && slices.Contains(g.mux.opts.Codecs, f.Codec) {
			g.mux.learn(g.key, w)
			return f, true
		}
		if err == nil {
			// A frame that cannot be decoded here is still the best answer when no
			// other way exists: its reading says what to install.
			if g.fallback == nil {
				g.fallback, g.via = &f, w
			}
			continue
		}
		g.fail(string(w.endpoint.Protocol), err)
		if l, ok := g.mux.learned.get(g.key); ok && l.way.endpoint == w.endpoint && !silent(err) {
			g.mux.learned.drop(g.key)
		}
	}
	return fleet.Frame{}, false
}

// silent reports whether an error speaks of the device, which may be back in a
// minute, and not of the way.
func silent(err error) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return ok && (ce.Cause == fleet.CauseUnreachable || ce.Cause == fleet.CauseTimeout || ce.Cause == fleet.CauseRefused || ce.Cause == fleet.CauseDeadline)
}

// once is one grab by one way, with a share of the time when others follow.
func (g *grabbing) once(ctx context.Context, w way, more bool) (fleet.Frame, error) {
	if deadline, ok := ctx.Deadline(); ok && more {
		var cancel context.CancelFunc
		share := time.Until(deadline) / 2
		if w.endpoint.Protocol == fleet.RTSP {
			share += share / 2 // key frames come seldom
		}
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	t := g.target
	t.Endpoints = []fleet.Endpoint{w.endpoint}
	if g.bare {
		t.Credentials = nil
	}
	by := g.mux.grab[w.endpoint.Protocol]
	if by == nil {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseProtocol, "%s is not spoken here", w.endpoint.Protocol)
	}
	defer g.hasten(ctx, w)()
	return by.Grab(ctx, t)
}

// fail books an error and decides what it means for the ways that follow.
func (g *grabbing) fail(what string, err error) {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	if !ok {
		ce, _ = errors.AsType[*fleet.CameraError](guard.CameraError(err, ""))
	}
	login := ce.Cause == fleet.CauseUnauthorized || ce.Cause == fleet.CauseLocked
	switch {
	case login && g.bare:
		return // asked without a login on purpose: the refusal before says it all
	case login && !errors.Is(err, guard.ErrUnusable):
		g.bare = true
	case errors.Is(err, guard.ErrOnceRefused):
		g.bare = true // sent to the next address, it would be refused for good
	case ce.Cause == fleet.CauseDeadline:
		g.stopped = true
	}
	g.refused = g.refused || ce.Cause == fleet.CauseRefused
	if !slices.ContainsFunc(g.errs, func(f failure) bool { return f.what == what && f.err.Error() == ce.Error() }) {
		g.errs = append(g.errs, failure{what, ce})
	}
}

// telling orders causes by how much they help an operator.
var telling = [...]fleet.Cause{
	fleet.CauseInternal, fleet.CauseLocked, fleet.CauseUnauthorized, fleet.CauseUnsupportedCodec,
	fleet.CauseNoKeyframe, fleet.CauseTooLarge, fleet.CauseCorrupt, fleet.CauseTimeout, fleet.CauseGuarded,
	fleet.CauseProtocol, fleet.CauseRefused, fleet.CauseNotFound, fleet.CauseUnreachable, fleet.CauseDeadline,
}

func (g *grabbing) failure() error {
	if len(g.errs) == 0 {
		return fleet.Errorf(fleet.CauseNotFound, "the camera has no address to take a picture from: describe it, or give it one by hand")
	}
	rank := func(f failure) int {
		if i := slices.Index(telling[:], f.err.Cause); i >= 0 {
			return i
		}
		return len(telling)
	}
	slices.SortStableFunc(g.errs, func(a, b failure) int { return cmp.Compare(rank(a), rank(b)) })
	if len(g.errs) == 1 {
		return g.errs[0].err
	}
	var texts []string
	var all []error
	for _, f := range g.errs {
		texts = append(texts, f.what+": "+f.err.Error())
		all = append(all, f.err)
	}
	return &fleet.CameraError{Cause: g.errs[0].err.Cause, Err: &several{strings.Join(texts, "; "), all}}
}

// several is the errors of several ways, in one line.
type several struct {
	text string
	errs []error
}

func (s *several) Error() string   { return s.text }
func (s *several) Unwrap() []error { return s.errs }

func (m *Mux) learn(key string, w way) {
	keep := learnedFor
	// The first success sets the time: a lesson that renews itself would never
	// look for a cheaper way again. A search that found none makes the next
	// one rarer: a cheaper way that is silent costs half of a grab's time.
	if l, ok := m.learned.get(key); ok && l.way.endpoint == w.endpoint {
		if m.opts.Now().Sub(l.at) < l.keep {
			return
		}
		keep = min(2*l.keep, learnedForMost)
	}
	m.learned.put(key, lesson{way: w, at: m.opts.Now(), keep: keep})
}

// stillKnown reports whether a learned way belongs to the target as it is now:
// an operator may have changed the camera's addresses since.
func (m *Mux) stillKnown(w way, t fleet.Target) bool {
	if slices.Contains(t.Endpoints, w.endpoint) {
		return true
	}
	return slices.ContainsFunc(services(t), func(e fleet.Endpoint) bool {
		return m.guard.Permits(hostOf(e.URL), hostOf(w.endpoint.URL))
	})
}

// deviceOf names a device that has no key yet by its first host, so that all
// its addresses share one login budget.
func deviceOf(t fleet.Target) string {
	for _, e := range t.Endpoints {
		if h := hostOf(e.URL); h != "" {
			return "host:" + h
		}
	}
	return "camera:" + t.Camera.String()
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, grabWait)
}
