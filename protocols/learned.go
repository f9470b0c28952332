package protocols

import (
	"context"
	"errors"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	rtspcam "github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

// Lesson is the way to one camera that works: what a restart should not have
// to find out again. It holds no credentials.
type Lesson struct {
	Device    string            `json:"device"`
	Source    string            `json:"source"`
	Endpoint  fleet.Endpoint    `json:"endpoint"`
	Codec     fleet.Codec       `json:"codec,omitempty"`     // as described; empty when nobody said
	Pixels    int               `json:"pixels,omitempty"`    // as described; 0 when nobody said
	Profile   string            `json:"profile,omitempty"`   // its token; empty when nobody said
	Transport rtspcam.Transport `json:"transport,omitempty"` // of RTSP, when it is not the usual one
	At        time.Time         `json:"at"`                  // when it was found to work
}

// Lessons keep what a Mux has learned over restarts, one Lesson for each
// device and source. Both methods are called while a camera waits: Load once
// for each, before its first grab, and Save when its way has changed.
type Lessons interface {
	// Load returns the lesson saved last; false when there is none.
	Load(ctx context.Context, device, source string) (Lesson, bool, error)
	// Save keeps a lesson in place of the one before.
	Save(ctx context.Context, l Lesson) error
}

// Learned is what a Mux knows of one camera by its grabs since the start.
type Learned struct {
	Lesson // its Endpoint is empty while no way is known to work

	Grabs     int           // that gave a frame
	Failures  int           // grabs without one since the last frame
	Cause     fleet.Cause   // of the last failure; empty when the last grab gave a frame
	Detail    string        // its error, without credentials
	Latency   time.Duration // of a grab that gave a frame, smoothed; 0 before the first
	Deviation time.Duration // of that, smoothed
	Places    int           // grabs at a time that the device was seen to bear; 0 when it never refused one
}

// Learned returns what is known of a camera, by Device.Key and Source.Token as
// in its Target; false when it was not grabbed from.
func (m *Mux) Learned(device, source string) (Learned, bool) {
	key := keyOf(device, source)
	rec, ok := m.records.get(key)
	if !ok {
		return Learned{}, false
	}
	out := rec.Learned
	out.Device, out.Source = device, source
	out.Places = m.places.limit(device)
	if l, ok := m.learned.get(key); ok {
		out.Lesson = m.lesson(device, source, l)
	}
	return out, true
}

func keyOf(device, source string) string { return device + "\x00" + source }

// record is what one camera's grabs have shown.
type record struct {
	Learned
	saved  Lesson
	noSync bool // it gives no key frame when asked
}

// The weights of the newest latency and deviation, as RFC 6298 has them for
// round trips.
const (
	latencyWeight   = 8
	deviationWeight = 4
)

// note enters a grab's end.
func (r record) note(took time.Duration, err error) record {
	if err != nil {
		r.Failures++
		r.Cause, r.Detail = fleet.CauseInternal, err.Error()
		if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
			r.Cause = ce.Cause
		}
		return r
	}
	r.Grabs++
	r.Failures, r.Cause, r.Detail = 0, "", ""
	if r.Grabs == 1 {
		r.Latency, r.Deviation = took, took/2
		return r
	}
	r.Deviation += ((r.Latency - took).Abs() - r.Deviation) / deviationWeight
	r.Latency += (took - r.Latency) / latencyWeight
	return r
}

// lesson is how l is kept.
func (m *Mux) lesson(device, source string, l lesson) Lesson {
	out := Lesson{Device: device, Source: source, Endpoint: l.way.endpoint, Codec: l.way.codec, Pixels: l.way.pixels, Profile: l.way.profile, At: l.at}
	if tr, ok := m.transports(); ok && l.way.endpoint.Protocol == fleet.RTSP {
		if t, learned := tr.Transport(addressOf(l.way.endpoint.URL)); learned {
			out.Transport = t
		}
	}
	return out
}

// transporter is a Grabber that learns transports; the RTSP one is.
type transporter interface {
	Transport(host string) (rtspcam.Transport, bool)
	Prefer(host string, t rtspcam.Transport)
}

func (m *Mux) transports() (transporter, bool) {
	t, ok := m.grab[fleet.RTSP].(transporter)
	return t, ok
}

// recall fetches what an earlier run has learned of a camera, once. The camera
// is the caller's.
func (m *Mux) recall(ctx context.Context, t fleet.Target) {
	key := keyOf(t.Device, t.Source)
	if _, ok := m.records.get(key); ok {
		return
	}
	var rec record
	if m.opts.Lessons != nil {
		l, ok, err := m.opts.Lessons.Load(ctx, t.Device, t.Source)
		if err != nil {
			m.opts.Log.WarnContext(ctx, "what was learned of a camera cannot be read, it is learned anew", "device_id", t.Device, "err", err)
		}
		if err == nil && ok && grabbable(l.Endpoint.Protocol) {
			rec.saved = l
			// It counts as found now: after a restart, not all cameras should look
			// for a cheaper way at once.
			m.learned.put(key, lesson{way: way{endpoint: l.Endpoint, codec: l.Codec, pixels: l.Pixels, profile: l.Profile}, at: m.opts.Now(), keep: learnedFor})
			if tr, ok := m.transports(); ok && l.Transport != "" {
				tr.Prefer(addressOf(l.Endpoint.URL), l.Transport)
			}
		}
	}
	m.records.put(key, rec)
}

// noted enters a grab's end, and saves the way when it is another than before.
// The camera is the caller's.
func (m *Mux) noted(ctx context.Context, t fleet.Target, took time.Duration, err error) {
	key := keyOf(t.Device, t.Source)
	rec, _ := m.records.get(key)
	rec = rec.note(took, err)
	if l, ok := m.learned.get(key); ok && err == nil && m.opts.Lessons != nil {
		now, old := m.lesson(t.Device, t.Source, l), rec.saved
		old.At = now.At
		if now != old {
			// The grab is over, and its time may be too.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWait)
			if err := m.opts.Lessons.Save(ctx, now); err != nil {
				m.opts.Log.WarnContext(ctx, "what was learned of a camera is not saved", "device_id", t.Device, "err", err)
			} else {
				rec.saved = now
			}
			cancel()
		}
	}
	m.records.put(key, rec)
}

// saveWait bounds a Save.
const saveWait = 2 * time.Second
