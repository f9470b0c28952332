package protocols

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// camera is a device behind all grabbers: what each address answers, and what
// was asked of it.
type camera struct {
	mu      sync.Mutex
	answers map[string]answer
	asked   []string // URLs, with a * when credentials came along
	devices []fleet.Device
	failing error // of descriptions
	asks    int   // descriptions
}

type answer struct {
	codec fleet.Codec
	err   error
	wait  time.Duration // before answering; longer than the context is silence
}

func (c *camera) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	url := t.Endpoints[0].URL
	c.mu.Lock()
	a, ok := c.answers[url]
	if len(t.Credentials) > 0 {
		c.asked = append(c.asked, url+"*")
	} else {
		c.asked = append(c.asked, url)
	}
	c.mu.Unlock()
	if a.wait > 0 {
		select {
		case <-time.After(a.wait):
		case <-ctx.Done():
			return fleet.Frame{}, guard.CameraError(ctx.Err(), "")
		}
	}
	switch {
	case !ok:
		return fleet.Frame{}, fleet.Errorf(fleet.CauseNotFound, "GET %s: 404", url)
	case a.err != nil:
		return fleet.Frame{}, a.err
	}
	return fleet.Frame{Data: []byte(url), Codec: a.codec, Origin: fleet.Origin{Protocol: t.Endpoints[0].Protocol, URL: url}}, nil
}

func (c *camera) Describe(_ context.Context, t fleet.Target) (fleet.Device, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks++
	if c.failing != nil {
		return fleet.Device{}, c.failing
	}
	return c.devices[min(c.asks, len(c.devices))-1], nil
}

func (c *camera) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.asked = nil }()
	return strings.Join(c.asked, " ")
}

func muxOver(t *testing.T, c *camera, codecs ...fleet.Codec) *Mux {
	t.Helper()
	m := newMux(Options{Codecs: codecs}, c, c, c)
	t.Cleanup(m.guard.Close)
	return m
}

func at(p fleet.Protocol, path string) fleet.Endpoint {
	scheme := "http"
	if p == fleet.RTSP {
		scheme = "rtsp"
	}
	return fleet.Endpoint{Protocol: p, URL: scheme + "://10.0.0.1/" + path}
}

var (
	snap, stream, main = at(fleet.Snapshot, "snap"), at(fleet.MJPEG, "mjpeg"), at(fleet.RTSP, "main")
	sub, service       = at(fleet.RTSP, "sub"), at(fleet.ONVIF, "onvif")
	secret             = []fleet.Credentials{{User: "u", Password: "p", Version: 1}}
)

func device(state fleet.DeviceState, sources ...fleet.Source) fleet.Device {
	return fleet.Device{Key: "d", State: state, Sources: sources}
}

func source(token string, ps ...fleet.Profile) fleet.Source {
	return fleet.Source{Token: token, Profiles: ps}
}

func profile(c fleet.Codec, w, h int, es ...fleet.Endpoint) fleet.Profile {
	return fleet.Profile{Codec: c, Width: w, Height: h, Endpoints: es}
}

func causeOfError(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	if err == nil {
		return ""
	}
	return "no CameraError"
}

func grabFrom(t *testing.T, m *Mux, es ...fleet.Endpoint) (fleet.Frame, error) {
	t.Helper()
	return m.Grab(t.Context(), fleet.Target{Device: "d", Endpoints: es, Credentials: secret})
}

func TestCheapestWayFirst(t *testing.T) {
	jpegOK := answer{codec: fleet.JPEG}
	full := map[string]answer{snap.URL: jpegOK, stream.URL: jpegOK, main.URL: {codec: fleet.H264}, sub.URL: {codec: fleet.H264}}
	d := device(fleet.DeviceOK, source("v", profile(fleet.H264, 1920, 1080, main), profile(fleet.H264, 640, 360, sub, snap)))
	noSnap := device(fleet.DeviceOK, source("v", profile(fleet.H265, 320, 180, at(fleet.RTSP, "h265")), profile(fleet.H264, 1920, 1080, main), profile(fleet.H264, 640, 360, sub)))
	for _, tc := range []struct {
		name    string
		answers map[string]answer
		devices []fleet.Device
		codecs  []fleet.Codec
		ends    []fleet.Endpoint
		want    string // addresses in the order they are asked
		cause   fleet.Cause
	}{
		{"snapshot of three", full, nil, nil, []fleet.Endpoint{main, stream, snap}, "http://10.0.0.1/snap*", ""},
		{"mjpeg when the snapshot is gone", map[string]answer{stream.URL: jpegOK}, nil, nil, []fleet.Endpoint{main, stream, snap}, "http://10.0.0.1/snap* http://10.0.0.1/mjpeg*", ""},
		{"described snapshot", full, []fleet.Device{d}, nil, []fleet.Endpoint{service}, "http://10.0.0.1/snap*", ""},
		{"described before a given stream", full, []fleet.Device{d}, nil, []fleet.Endpoint{main, service}, "http://10.0.0.1/snap*", ""},
		{"sub-stream, decodable first", full, []fleet.Device{noSnap}, []fleet.Codec{fleet.JPEG, fleet.H264}, []fleet.Endpoint{service}, "rtsp://10.0.0.1/sub*", ""},
		{"undecodable last, and its frame is given", map[string]answer{main.URL: {codec: fleet.H264}}, nil, nil, []fleet.Endpoint{main}, "rtsp://10.0.0.1/main*", ""},
		{"nothing works", nil, nil, nil, []fleet.Endpoint{snap, main}, "http://10.0.0.1/snap* rtsp://10.0.0.1/main*", fleet.CauseNotFound},
		{"no address", nil, nil, nil, nil, "", fleet.CauseNotFound},
		{"protocol, then not found", map[string]answer{snap.URL: {err: fleet.Errorf(fleet.CauseProtocol, "a web page")}}, nil, nil, []fleet.Endpoint{snap, main}, "http://10.0.0.1/snap* rtsp://10.0.0.1/main*", fleet.CauseProtocol},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &camera{answers: tc.answers, devices: tc.devices}
			m := muxOver(t, c, tc.codecs...)
			f, err := grabFrom(t, m, tc.ends...)
			if causeOfError(err) != tc.cause || err == nil && len(f.Data) == 0 {
				t.Fatalf("Grab = %d bytes, %v (%s); want cause %q", len(f.Data), err, causeOfError(err), tc.cause)
			}
			if got := c.take(); got != tc.want {
				t.Errorf("asked %q, want %q", got, tc.want)
			}
		})
	}
}

// A refused login is not sent to the other addresses; they are asked without.
func TestNoLoginStorm(t *testing.T) {
	refused := answer{err: fleet.Errorf(fleet.CauseUnauthorized, "refused")}
	c := &camera{answers: map[string]answer{snap.URL: refused, stream.URL: refused, main.URL: refused}}
	_, err := grabFrom(t, muxOver(t, c), snap, stream, main)
	if got := c.take(); got != "http://10.0.0.1/snap* http://10.0.0.1/mjpeg rtsp://10.0.0.1/main" || causeOfError(err) != fleet.CauseUnauthorized {
		t.Errorf("asked %q, got %v", got, err)
	}
	// One that needs no login gives the frame.
	c = &camera{answers: map[string]answer{snap.URL: {err: fleet.Errorf(fleet.CauseLocked, "locked")}, stream.URL: {codec: fleet.JPEG}}}
	if f, err := grabFrom(t, muxOver(t, c), snap, stream); err != nil || f.Origin.Protocol != fleet.MJPEG {
		t.Errorf("Grab = %v, %v; want the open stream", f.Origin, err)
	}
	// One that worked before and is refused once is spared, and the camera is busy.
	c = &camera{answers: map[string]answer{snap.URL: {err: guard.OnceRefused()}, main.URL: refused}}
	_, err = grabFrom(t, muxOver(t, c), snap, main)
	if got := c.take(); got != "http://10.0.0.1/snap* rtsp://10.0.0.1/main" || causeOfError(err) != fleet.CauseRefused {
		t.Errorf("asked %q, got %v", got, err)
	}
	// A login that was never sent may be sent elsewhere.
	c = &camera{answers: map[string]answer{snap.URL: {err: fleet.Errorf(fleet.CauseUnauthorized, "only Basic: %w", guard.ErrUnusable)}, main.URL: {codec: fleet.JPEG}}}
	if _, err := grabFrom(t, muxOver(t, c), snap, main); err != nil {
		t.Error(err)
	}
	if got := c.take(); got != "http://10.0.0.1/snap* rtsp://10.0.0.1/main*" {
		t.Errorf("asked %q", got)
	}
}

func TestWhatWorkedIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{answers: map[string]answer{stream.URL: {codec: fleet.JPEG}}}
		m := muxOver(t, c)
		for range 3 {
			if _, err := grabFrom(t, m, snap, stream); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.take(); got != "http://10.0.0.1/snap* http://10.0.0.1/mjpeg* http://10.0.0.1/mjpeg* http://10.0.0.1/mjpeg*" {
			t.Errorf("asked %q", got)
		}
		// The cheaper way gets another chance some day.
		time.Sleep(learnedFor)
		c.answers[snap.URL] = answer{codec: fleet.JPEG}
		if f, _ := grabFrom(t, m, snap, stream); f.Origin.Protocol != fleet.Snapshot {
			t.Errorf("after %v the frame came by %v", learnedFor, f.Origin)
		}
		// What stops working is forgotten, and the rest is tried at once.
		delete(c.answers, snap.URL)
		c.take()
		if f, err := grabFrom(t, m, snap, stream); err != nil || f.Origin.Protocol != fleet.MJPEG {
			t.Errorf("Grab = %v, %v", f.Origin, err)
		}
	})
}

func TestDescriptionIsCachedAndRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moved := at(fleet.Snapshot, "moved")
		c := &camera{
			answers: map[string]answer{snap.URL: {codec: fleet.JPEG}},
			devices: []fleet.Device{
				device(fleet.DeviceOK, source("a", profile(fleet.H264, 1, 1, snap)), source("b", profile(fleet.H264, 1, 1, main))),
				device(fleet.DeviceOK, source("a", profile(fleet.H264, 1, 1, moved)), source("b", profile(fleet.H264, 1, 1, main)))},
		}
		m := muxOver(t, c)
		target := fleet.Target{Device: "d", Source: "a", Endpoints: []fleet.Endpoint{service}, Credentials: secret}
		for range 5 {
			if _, err := m.Grab(t.Context(), target); err != nil {
				t.Fatal(err)
			}
		}
		if c.asks != 1 {
			t.Errorf("%d descriptions for five grabs, want 1", c.asks)
		}
		time.Sleep(describedAgain)
		c.mu.Lock()
		c.answers = map[string]answer{moved.URL: {codec: fleet.JPEG}}
		c.mu.Unlock()
		f, err := m.Grab(t.Context(), target)
		if err != nil || f.Origin.URL != moved.URL || c.asks != 2 {
			t.Errorf("after the address moved: %v, %v, %d descriptions", f.Origin, err, c.asks)
		}
		// A camera that fails all the time is not described all the time.
		c.mu.Lock()
		c.answers = nil
		c.mu.Unlock()
		for range 10 {
			if _, err := m.Grab(t.Context(), target); causeOfError(err) != fleet.CauseNotFound {
				t.Fatal(err)
			}
		}
		if c.asks != 2 {
			t.Errorf("%d descriptions, want no more than 2", c.asks)
		}
		// The other source's address is never used for this one.
		if strings.Contains(c.take(), "main") {
			t.Error("a frame of another source was asked for")
		}
		target.Source = "gone"
		if _, err := m.Grab(t.Context(), target); causeOfError(err) != fleet.CauseNotFound || !strings.Contains(err.Error(), `"gone"`) {
			t.Errorf("a source that is gone: %v", err)
		}
	})
}

func TestDescribedHostIsGuarded(t *testing.T) {
	evil := fleet.Endpoint{Protocol: fleet.Snapshot, URL: "http://10.9.9.9/x"}
	c := &camera{answers: map[string]answer{evil.URL: {codec: fleet.JPEG}}, devices: []fleet.Device{device(fleet.DeviceOK, source("", profile("", 0, 0, evil)))}}
	_, err := grabFrom(t, muxOver(t, c), service)
	if causeOfError(err) != fleet.CauseGuarded || c.take() != "" {
		t.Errorf("Grab = %v, want guarded and nothing asked", err)
	}
}

// atHosts describes a device that has several services, of which some answer.
type atHosts struct {
	*camera
	answer map[string]fleet.Device // by URL
}

func (a atHosts) Describe(_ context.Context, t fleet.Target) (fleet.Device, error) {
	if d, ok := a.answer[t.Endpoints[0].URL]; ok {
		return d, nil
	}
	return fleet.Device{}, fleet.Errorf(fleet.CauseUnreachable, "nobody at %s", t.Endpoints[0].URL)
}

// TestDescriptionLeadsWhereItCameFrom: a device's first address is silent, and
// what its second tells leads to that host alone, whatever the first one is.
func TestDescriptionLeadsWhereItCameFrom(t *testing.T) {
	second := fleet.Endpoint{Protocol: fleet.ONVIF, URL: "http://10.0.0.2/onvif"}
	own := fleet.Endpoint{Protocol: fleet.Snapshot, URL: "http://10.0.0.2/snap"}
	c := &camera{answers: map[string]answer{own.URL: {codec: fleet.JPEG}, snap.URL: {codec: fleet.JPEG}}}
	for _, v := range []struct {
		names fleet.Endpoint
		cause fleet.Cause
		asked string
	}{{own, "", own.URL + "*"}, {snap, fleet.CauseGuarded, ""}} {
		by := atHosts{c, map[string]fleet.Device{second.URL: device(fleet.DeviceOK, source("a", profile("", 0, 0, v.names)))}}
		m := newMux(Options{}, by, c, c)
		_, err := m.Grab(t.Context(), fleet.Target{Device: "d", Source: "a", Endpoints: []fleet.Endpoint{service, second}, Credentials: secret})
		if asked := c.take(); causeOfError(err) != v.cause || asked != v.asked {
			t.Errorf("%s told of %s: asked %q, %v; want %q, cause %q", second.URL, v.names.URL, asked, err, v.asked, v.cause)
		}
		m.guard.Close()
	}
}

// TestMovedDeviceIsDescribedAgain: what a device said where it was does not hold
// where it is now.
func TestMovedDeviceIsDescribedAgain(t *testing.T) {
	moved := fleet.Endpoint{Protocol: fleet.ONVIF, URL: "http://10.0.0.2/onvif"}
	now := fleet.Endpoint{Protocol: fleet.Snapshot, URL: "http://10.0.0.2/snap"}
	c := &camera{answers: map[string]answer{snap.URL: {codec: fleet.JPEG}, now.URL: {codec: fleet.JPEG}}}
	by := atHosts{c, map[string]fleet.Device{
		service.URL: device(fleet.DeviceOK, source("a", profile("", 0, 0, snap))), moved.URL: device(fleet.DeviceOK, source("a", profile("", 0, 0, now))),
	}}
	m := newMux(Options{}, by, c, c)
	t.Cleanup(m.guard.Close)
	for _, e := range []fleet.Endpoint{service, moved} {
		if _, err := m.Grab(t.Context(), fleet.Target{Device: "d", Source: "a", Endpoints: []fleet.Endpoint{e}, Credentials: secret}); err != nil {
			t.Errorf("at %s: %v", e.URL, err)
		}
	}
	if asked := c.take(); asked != snap.URL+"* "+now.URL+"*" {
		t.Errorf("asked %q", asked)
	}
}

func TestClosedDevice(t *testing.T) {
	c := &camera{devices: []fleet.Device{{State: fleet.DeviceNeedsCredentials, Reason: "store a login", Sources: []fleet.Source{{}}}}}
	if _, err := grabFrom(t, muxOver(t, c), service); causeOfError(err) != fleet.CauseUnauthorized || !strings.Contains(err.Error(), "store a login") {
		t.Errorf("Grab = %v", err)
	}
	c = &camera{failing: fleet.Errorf(fleet.CauseRefused, "no"), answers: map[string]answer{main.URL: {codec: fleet.JPEG}}}
	if _, err := grabFrom(t, muxOver(t, c), service, main); err != nil {
		t.Errorf("with ONVIF closed and a stream known: %v", err)
	}
}

// A silent way leaves time for the next, and all end by the deadline.
func TestSilentWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{answers: map[string]answer{snap.URL: {wait: time.Hour}, stream.URL: {wait: time.Hour}, main.URL: {codec: fleet.JPEG, wait: time.Second}}}
		m := muxOver(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := m.Grab(ctx, fleet.Target{Device: "d", Endpoints: []fleet.Endpoint{snap, stream, main}}); err != nil {
			t.Errorf("Grab = %v after %v", err, time.Since(began))
		}
		c.answers = map[string]answer{snap.URL: {wait: time.Hour}}
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began = time.Now()
		_, err := m.Grab(ctx, fleet.Target{Device: "e", Endpoints: []fleet.Endpoint{snap}})
		if took := time.Since(began); causeOfError(err) != fleet.CauseTimeout || took != 3*time.Second {
			t.Errorf("Grab = %v after %v", err, took)
		}
	})
}

func TestOneGrabPerCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{answers: map[string]answer{snap.URL: {codec: fleet.JPEG, wait: time.Second}}}
		m := muxOver(t, c)
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		ends := map[time.Duration]int{}
		for _, key := range []string{"a", "a", "a", "b"} {
			wg.Go(func() {
				if _, err := m.Grab(t.Context(), fleet.Target{Device: key, Endpoints: []fleet.Endpoint{snap}}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				ends[time.Since(began)]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if fmt.Sprint(ends) != "map[1s:2 2s:1 3s:1]" {
			t.Errorf("grabs ended at %v", ends)
		}
		go m.Grab(t.Context(), fleet.Target{Device: "a", Endpoints: []fleet.Endpoint{snap}})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := m.Grab(ctx, fleet.Target{Device: "a", Endpoints: []fleet.Endpoint{snap}}); causeOfError(err) != fleet.CauseDeadline {
			t.Errorf("a grab that waited in vain: %v", err)
		}
		time.Sleep(2 * time.Second)
		m.turns.mu.Lock()
		defer m.turns.mu.Unlock()
		if n := len(m.turns.held); n != 0 {
			t.Errorf("%d turns are remembered", n)
		}
	})
}

func TestDescribePlain(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/closed" {
			w.Header().Set("WWW-Authenticate", `Digest realm="x", nonce="y"`)
			w.WriteHeader(401)
			return
		}
		w.Write(picture.Bytes())
	}))
	defer s.Close()
	m := newMux(Options{}, nil, nil, nil)
	defer m.guard.Close()
	d, err := m.Describe(t.Context(), fleet.Target{Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: s.URL + "/a"}}})
	if err != nil || d.State != fleet.DeviceOK || len(d.Sources) != 1 {
		t.Fatalf("Describe = %+v, %v", d, err)
	}
	if p := d.Sources[0].Profiles[0]; p.Codec != fleet.JPEG || p.Width != 64 || p.Height != 48 || len(p.Endpoints) != 1 {
		t.Errorf("profile %+v", p)
	}
	d, err = m.Describe(t.Context(), fleet.Target{Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: s.URL + "/closed"}}})
	if err != nil || d.State != fleet.DeviceNeedsCredentials || d.Reason == "" || len(d.Sources) != 1 {
		t.Errorf("Describe = %+v, %v", d, err)
	}
	if _, err := m.Describe(t.Context(), fleet.Target{}); causeOfError(err) != fleet.CauseNotFound {
		t.Errorf("Describe of nothing = %v", err)
	}
}

func TestBounded(t *testing.T) {
	b := bounded[int]{size: 3}
	for i := range 10 {
		b.put(fmt.Sprint(i), i)
		b.put(fmt.Sprint(i), i)
	}
	b.drop("8")
	b.drop("none")
	b.put("new", 1)
	if len(b.held) != 3 || len(b.order) != 3 {
		t.Errorf("%v in order %v, want three", b.held, b.order)
	}
	if _, ok := b.get("7"); !ok {
		t.Error("a put after a drop forgot one too many")
	}
}
