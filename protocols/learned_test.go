package protocols

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	rtspcam "github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

// shelf keeps lessons as an agent's store does.
type shelf struct {
	held  map[string]Lesson
	loads int
	saves int
	err   error
}

func (s *shelf) Load(_ context.Context, device, source string) (Lesson, bool, error) {
	s.loads++
	l, ok := s.held[device+"/"+source]
	return l, ok, s.err
}

func (s *shelf) Save(_ context.Context, l Lesson) error {
	s.saves++
	if s.err == nil {
		s.held[l.Device+"/"+l.Source] = l
	}
	return s.err
}

// overRTSP is a camera that also learns transports.
type overRTSP struct {
	*camera
	preferred map[string]rtspcam.Transport
}

func (o *overRTSP) Transport(host string) (rtspcam.Transport, bool) {
	t, ok := o.preferred[host]
	return t, ok
}
func (o *overRTSP) Prefer(host string, t rtspcam.Transport) { o.preferred[host] = t }

// After a restart a camera is asked by the way that worked, and over the
// transport that did; what has not changed is not written again.
func TestLessonsOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &shelf{held: map[string]Lesson{}}
		c := &camera{answers: map[string]answer{main.URL: {codec: fleet.H264}}}
		begin := func() (*Mux, *overRTSP) {
			r := &overRTSP{c, map[string]rtspcam.Transport{}}
			m := newMux(Options{Codecs: []fleet.Codec{fleet.H264}, Lessons: kept}, c, r, c)
			t.Cleanup(m.guard.Close)
			return m, r
		}
		m, r := begin()
		r.preferred["10.0.0.1"] = rtspcam.UDP
		for range 3 {
			if _, err := grabFrom(t, m, snap, main); err != nil {
				t.Fatal(err)
			}
		}
		if kept.loads != 1 || kept.saves != 1 {
			t.Errorf("%d loads and %d saves of three grabs, want one of each", kept.loads, kept.saves)
		}
		c.take()
		time.Sleep(24 * time.Hour)
		m, r = begin()
		if _, err := grabFrom(t, m, snap, main); err != nil {
			t.Fatal(err)
		}
		if got := c.take(); got != "rtsp://10.0.0.1/main*" || r.preferred["10.0.0.1"] != rtspcam.UDP {
			t.Errorf("after a restart %q was asked over %v", got, r.preferred)
		}
		// Another transport is another lesson.
		r.preferred["10.0.0.1"] = rtspcam.TCP
		if _, err := grabFrom(t, m, snap, main); err != nil || kept.saves != 2 || kept.held["d/"].Transport != rtspcam.TCP {
			t.Errorf("%v, %d saves, %+v", err, kept.saves, kept.held)
		}
		// An address that an operator has taken away is not asked.
		m, _ = begin()
		c.take()
		if _, err := grabFrom(t, m, snap); err == nil || c.take() != "http://10.0.0.1/snap*" {
			t.Errorf("Grab = %v", err)
		}
		// A store that fails costs nothing but its memory.
		kept.err = errors.New("disk full")
		m, _ = begin()
		if _, err := grabFrom(t, m, main); err != nil {
			t.Error(err)
		}
	})
}

// A silent device does not make its way forgotten, and in vain searches for a
// cheaper one become rarer.
func TestSearchesBecomeRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{answers: map[string]answer{stream.URL: {codec: fleet.JPEG}}}
		m := muxOver(t, c)
		began, searches := time.Now(), 0
		for time.Since(began) < 48*time.Hour {
			if _, err := grabFrom(t, m, snap, stream); err != nil {
				t.Fatal(err)
			}
			if c.take() != "http://10.0.0.1/mjpeg*" {
				searches++
			}
			time.Sleep(5 * time.Minute)
		}
		if searches < 8 || searches > 12 { // at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5, ... hours
			t.Errorf("%d searches in two days, want about 9", searches)
		}
		c.answers[stream.URL] = answer{err: fleet.Errorf(fleet.CauseUnreachable, "off")}
		if _, err := grabFrom(t, m, snap, stream); err == nil {
			t.Fatal("a frame of a camera that is off")
		}
		c.answers[stream.URL] = answer{codec: fleet.JPEG}
		c.take()
		if _, err := grabFrom(t, m, snap, stream); err != nil || c.take() != "http://10.0.0.1/mjpeg*" {
			t.Errorf("after it was off: %v", err)
		}
	})
}

func TestLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{answers: map[string]answer{snap.URL: {codec: fleet.JPEG, wait: 200 * time.Millisecond}}}
		m := muxOver(t, c)
		if _, ok := m.Learned("d", ""); ok {
			t.Error("something is known of a camera that was never asked")
		}
		for range 5 {
			if _, err := grabFrom(t, m, snap); err != nil {
				t.Fatal(err)
			}
		}
		l, ok := m.Learned("d", "")
		if !ok || l.Endpoint != snap || l.Device != "d" || l.Grabs != 5 || l.Failures != 0 || l.Latency != 200*time.Millisecond || l.Deviation > 50*time.Millisecond {
			t.Errorf("Learned = %+v", l)
		}
		c.answers = nil
		for range 2 {
			if _, err := grabFrom(t, m, snap); err == nil {
				t.Fatal("a frame from nowhere")
			}
		}
		if l, _ = m.Learned("d", ""); l.Failures != 2 || l.Cause != fleet.CauseNotFound || l.Detail == "" || l.Endpoint.URL != "" {
			t.Errorf("Learned = %+v", l)
		}
	})
}

// A recorder that bears two connections is given two at a time once it has
// refused a third, and one more is tried after a while.
func TestPlacesAreLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bears = 2
		var mu sync.Mutex
		open, refusals := 0, 0
		rec := grabberFunc(func(ctx context.Context, _ fleet.Target) (fleet.Frame, error) {
			mu.Lock()
			defer mu.Unlock()
			if open >= bears {
				refusals++
				return fleet.Frame{}, fleet.Errorf(fleet.CauseRefused, "453")
			}
			open++
			defer func() { open-- }()
			mu.Unlock()
			defer mu.Lock()
			select {
			case <-time.After(time.Second):
				return fleet.Frame{Codec: fleet.JPEG}, nil
			case <-ctx.Done():
				return fleet.Frame{}, fleet.Errorf(fleet.CauseTimeout, "late")
			}
		})
		m := newMux(Options{}, &camera{}, rec, rec)
		defer m.guard.Close()
		round := func(wait time.Duration) (ok int) {
			ends := make(chan error, 8)
			for i := range 8 {
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), wait)
					defer cancel()
					_, err := m.Grab(ctx, fleet.Target{Device: "nvr", Source: fmt.Sprint(i), Endpoints: []fleet.Endpoint{main}})
					ends <- err
				}()
				synctest.Wait() // in this order
			}
			for range 8 {
				if <-ends == nil {
					ok++
				}
			}
			return ok
		}
		if n := round(20 * time.Second); n != 7 || refusals != 1 {
			t.Errorf("at first %d of 8 with %d refusals, want 7 and one: the others waited", n, refusals)
		}
		refusals = 0
		if n := round(20 * time.Second); n != 8 || refusals != 0 {
			t.Errorf("then %d of 8 with %d refusals, want all and none", n, refusals)
		}
		if l, _ := m.Learned("nvr", "0"); l.Places != bears {
			t.Errorf("Places = %d, want %d", l.Places, bears)
		}
		if n := round(1500 * time.Millisecond); n != 2 {
			t.Errorf("with no time to wait %d of 8, want 2", n)
		}
		time.Sleep(moreAfter)
		if n := round(20 * time.Second); n != 7 || refusals != 1 {
			t.Errorf("after a while %d of 8 with %d refusals, want 7 and one", n, refusals)
		}
	})
}

type grabberFunc func(context.Context, fleet.Target) (fleet.Frame, error)

func (f grabberFunc) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	return f(ctx, t)
}

// Places never let in more than the bound, and forget who is gone.
func TestPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		p := &places{now: func() time.Time { return now }}
		var inside []func(bool)
		bound := 0 // the model's
		var since time.Time
		gone, cancel := context.WithCancel(context.Background())
		cancel() // who finds no room does not wait
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				if bound > 0 && len(inside) >= bound && now.Sub(since) >= moreAfter {
					bound, since = bound+1, now
				}
				leave, err := p.take(gone, "d")
				if room := bound == 0 || len(inside) < bound; (err == nil) != room {
					t.Fatalf("take with %d inside of %d: %v", len(inside), bound, err)
				}
				if err == nil {
					inside = append(inside, leave)
				}
			case 2:
				if len(inside) == 0 {
					continue
				}
				refused := rapid.Bool().Draw(t, "refused")
				inside[0](refused)
				inside = inside[1:]
				if n := len(inside); refused && n > 0 && (bound == 0 || n < bound) {
					bound = n
				}
				if refused {
					since = now
				}
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(1, 11).Draw(t, "minutes")) * time.Minute)
			}
			if got := p.limit("d"); got != bound {
				t.Fatalf("bound %d, want %d", got, bound)
			}
			if len(inside) == 0 && bound == 0 {
				since = time.Time{}
			}
		}
		for _, leave := range inside {
			leave(false)
		}
		if bound == 0 && len(p.held) != 0 {
			t.Fatalf("%d devices are remembered", len(p.held))
		}
	})
}

// asked is a device that can be asked for a key frame, and counts that.
type asked struct {
	*camera
	keys chan string // the profiles, one of each question
	err  error
}

func (a *asked) Synchronize(_ context.Context, t fleet.Target, profile string) error {
	a.keys <- t.Endpoints[0].URL + " " + profile
	return a.err
}

// A stream that keeps us waiting is asked for a key frame, once a grab; a quick
// one is not, nor a device that does not understand.
func TestKeyFrameIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile(fleet.H264, 640, 360, sub)
		p.Token = "p1"
		c := &camera{answers: map[string]answer{sub.URL: {codec: fleet.H264, wait: 5 * time.Second}}, devices: []fleet.Device{device(fleet.DeviceOK, source("v", p))}}
		a := &asked{camera: c, keys: make(chan string, 100)}
		m := newMux(Options{Codecs: []fleet.Codec{fleet.H264}}, a, c, c)
		defer m.guard.Close()
		grab := func() {
			t.Helper()
			if _, err := grabFrom(t, m, service); err != nil {
				t.Fatal(err)
			}
		}
		grab()
		grab()
		if len(a.keys) != 2 || <-a.keys != service.URL+" p1" {
			t.Errorf("%d questions of two slow grabs, want 2", len(a.keys)+1)
		}
		<-a.keys
		c.answers[sub.URL] = answer{codec: fleet.H264, wait: 100 * time.Millisecond}
		grab()
		if len(a.keys) != 0 {
			t.Error("a quick stream was asked for a key frame")
		}
		c.answers[sub.URL] = answer{codec: fleet.H264, wait: 5 * time.Second}
		a.err = fleet.Errorf(fleet.CauseProtocol, "ActionNotSupported")
		for range 3 {
			grab()
		}
		if len(a.keys) != 1 {
			t.Errorf("%d questions to a device that does not understand, want one", len(a.keys))
		}
	})
}
