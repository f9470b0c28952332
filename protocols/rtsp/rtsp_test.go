package rtsp_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

func TestGrabKeyFrame(t *testing.T) {
	var slices40 [][]byte
	slices40 = append(slices40, idr264)
	for range 39 {
		slices40 = append(slices40, more264)
	}
	other := []byte{0x67, 0x64, 0x00, 0x28, 0xac}
	for _, c := range []struct {
		name string
		sdp  string
		in   [][][]byte
		want string
	}{
		{"sets from the description", h264SDP, [][][]byte{{inter264}, {idr264}}, annexB(sps264, pps264, idr264)},
		{"sets in the description are broken", strings.Replace(h264SDP, "sprop-parameter-sets=", "sprop-parameter-sets=%", 1), [][][]byte{{sps264, pps264, idr264}}, annexB(sps264, pps264, idr264)},
		{"sets in band win", h264SDP, [][][]byte{{other, pps264, idr264}}, annexB(other, pps264, idr264)},
		{"sets in band alone, in a picture before", "a=rtpmap:96 H264/90000", [][][]byte{{sps264, pps264}, {inter264}, {idr264}}, annexB(sps264, pps264, idr264)},
		{"more slices than 25, delimiter dropped", h264SDP, [][][]byte{append([][]byte{aud264}, slices40...)}, annexB(append([][]byte{sps264, pps264}, slices40...)...)},
		{"joined in the middle of a key frame", h264SDP, [][][]byte{{more264, more264}, {inter264}, {idr264, more264}}, annexB(sps264, pps264, idr264, more264)},
	} {
		t.Run(c.name, func(t *testing.T) {
			cam := newCamera(t, sdp(96, c.sdp), packets(c.in...))
			now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
			g := rtsp.New(newGuard(t), rtsp.Options{Now: func() time.Time { return now }})
			f, err := g.Grab(within(t, 10*time.Second), target(cam.url("/live")))
			if err != nil {
				t.Fatal(err)
			}
			if string(f.Data) != c.want || f.Codec != fleet.H264 || !f.At.Equal(now) || f.Origin != (fleet.Origin{Protocol: fleet.RTSP, URL: cam.url("/live")}) {
				t.Errorf("Grab = %x of %s from %v, want %x", f.Data, f.Codec, f.Origin, c.want)
			}
			if reqs, _ := cam.count(); !slices.Contains(reqs, "PLAY") || slices.Index(reqs, "DESCRIBE") < 0 {
				t.Errorf("requests %v", reqs)
			}
		})
	}
}

func TestGrabWithoutMarkers(t *testing.T) {
	ps := packets([][]byte{idr264, more264}, [][]byte{inter264})
	for _, p := range ps {
		p.Marker = false
	}
	cam := newCamera(t, sdp(96, h264SDP), ps)
	f, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), target(cam.url("/")))
	if err != nil || string(f.Data) != annexB(sps264, pps264, idr264, more264) {
		t.Errorf("Grab = %x, %v", f.Data, err)
	}
}

func TestGrabFailures(t *testing.T) {
	status := func(m base.Method, code base.StatusCode, h base.Header) func(*camera, *base.Request) *base.Response {
		return func(_ *camera, req *base.Request) *base.Response {
			if req.Method != m {
				return nil
			}
			return &base.Response{StatusCode: code, Header: h}
		}
	}
	gap := packets([][]byte{idr264, more264, more264})
	gap = slices.Delete(gap, 1, 2)
	for _, c := range []struct {
		name   string
		sdp    string
		in     [][][]byte
		script func(*camera, *base.Request) *base.Response
		cause  fleet.Cause
		says   string
		wait   time.Duration // 0: well before the deadline
	}{
		{name: "no such path", script: status(base.Describe, base.StatusNotFound, nil), cause: fleet.CauseNotFound, says: "correct the path"},
		{name: "not enough bandwidth", script: status(base.Setup, base.StatusNotEnoughBandwidth, nil), cause: fleet.CauseRefused, says: "no connection left"},
		{name: "unavailable", script: status(base.Describe, base.StatusServiceUnavailable, nil), cause: fleet.CauseRefused},
		{name: "unavailable from OPTIONS on", script: func(*camera, *base.Request) *base.Response {
			return &base.Response{StatusCode: base.StatusServiceUnavailable}
		}, cause: fleet.CauseRefused},
		{name: "forbidden", script: status(base.Describe, base.StatusForbidden, nil), cause: fleet.CauseUnauthorized},
		{name: "no login known", script: digest("u", "p"), cause: fleet.CauseUnauthorized, says: "none is known"},
		{name: "no description", sdp: "nonsense", cause: fleet.CauseProtocol},
		{name: "audio alone", sdp: strings.Replace(sdp(0), "m=video", "m=audio", 1), cause: fleet.CauseProtocol, says: "no video"},
		{name: "another codec", sdp: sdp(96, "a=rtpmap:96 VP8/90000"), cause: fleet.CauseProtocol, says: "VP8"},
		{name: "neither transport", script: status(base.Setup, base.StatusUnsupportedTransport, nil), cause: fleet.CauseProtocol, says: "neither TCP nor UDP"},
		{name: "redirect elsewhere", script: status(base.Describe, base.StatusFound, base.Header{"Location": base.HeaderValue{"rtsp://127.9.9.9/live"}}), cause: fleet.CauseGuarded, says: "127.9.9.9"},
		{name: "hangs up", script: status(base.Describe, 0, nil), cause: fleet.CauseRefused, says: "hung up"},
		{name: "hangs up after OPTIONS failed", script: func(_ *camera, req *base.Request) *base.Response {
			switch req.Method {
			case base.Options:
				return &base.Response{StatusCode: base.StatusNotFound}
			case base.Play:
				return &base.Response{}
			}
			return nil
		}, cause: fleet.CauseRefused},
		{name: "no packets", wait: 300 * time.Millisecond, cause: fleet.CauseTimeout, says: "no picture came"},
		{name: "no key frame", in: [][][]byte{{inter264}, {inter264}}, wait: 300 * time.Millisecond, cause: fleet.CauseNoKeyframe, says: "among 2"},
		{name: "recovery points", in: [][][]byte{{{0x06, 0x06, 0x01, 0x84}, inter264}}, wait: 300 * time.Millisecond, cause: fleet.CauseNoKeyframe, says: "recovery point"},
		{name: "no parameter sets", sdp: sdp(96, "a=rtpmap:96 H264/90000"), in: [][][]byte{{idr264}}, wait: 300 * time.Millisecond, cause: fleet.CauseNoKeyframe, says: "parameter sets"},
		{name: "a slice lost at the start", in: [][][]byte{{more264}}, wait: 300 * time.Millisecond, cause: fleet.CauseNoKeyframe, says: "parts missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.sdp == "" {
				c.sdp = sdp(96, h264SDP)
			}
			cam := newCamera(t, c.sdp, packets(c.in...))
			cam.script = c.script
			g := rtsp.New(newGuard(t), rtsp.Options{})
			if c.wait == 0 {
				start := time.Now()
				f, err := g.Grab(within(t, time.Minute), target(cam.url("/live")))
				wantCause(t, f, err, c.cause, c.says)
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("took %v", took)
				}
				return
			}
			f, err := patient(t, g, cam.url("/live"), c.wait, c.says)
			wantCause(t, f, err, c.cause, c.says)
		})
	}
	t.Run("a packet lost", func(t *testing.T) {
		cam := newCamera(t, sdp(96, h264SDP), gap)
		f, err := patient(t, rtsp.New(newGuard(t), rtsp.Options{}), cam.url("/live"), 300*time.Millisecond, "parts missing")
		wantCause(t, f, err, fleet.CauseNoKeyframe, "parts missing")
	})
	t.Run("nobody listens", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		f, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 5*time.Second), target("rtsp://"+ln.Addr().String()+"/"))
		wantCause(t, f, err, fleet.CauseRefused, "")
	})
}

// patient grabs from a camera of which something is to come by the deadline, and
// more: on a busy machine that takes longer.
func patient(t *testing.T, g *rtsp.Grabber, url string, wait time.Duration, says string) (f fleet.Frame, err error) {
	t.Helper()
	for ; wait < time.Minute; wait *= 2 {
		f, err = g.Grab(within(t, wait), target(url))
		if err == nil || strings.Contains(err.Error(), says) {
			break
		}
	}
	return f, err
}

func wantCause(t *testing.T, f fleet.Frame, err error, cause fleet.Cause, says string) {
	t.Helper()
	ce, ok := errors.AsType[*fleet.CameraError](err)
	if !ok {
		t.Fatalf("Grab = %d bytes, %v; want cause %s", len(f.Data), err, cause)
	}
	if ce.Cause != cause || !strings.Contains(err.Error(), says) {
		t.Errorf("cause %s: %v; want %s saying %q", ce.Cause, err, cause, says)
	}
}

// A camera that accepts and says nothing ends with the deadline, over TCP as
// behind TLS, and leaves no connection.
func TestGrabSilent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	for _, scheme := range []string{"rtsp", "rtsps"} {
		start := time.Now()
		f, err := patient(t, rtsp.New(newGuard(t), rtsp.Options{}), scheme+"://"+ln.Addr().String()+"/live", 200*time.Millisecond, "silent")
		wantCause(t, f, err, fleet.CauseTimeout, "silent")
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s took %v", scheme, took)
		}
	}
	ln.Close()
	conns.Wait() // all are closed
}

func TestGrabLogin(t *testing.T) {
	right := fleet.Credentials{User: "viewer", Password: `p:@"\ß`, Version: 1}
	wrong := fleet.Credentials{User: "viewer", Password: "no", Version: 2}
	cam := newCamera(t, sdp(96, h264SDP), packets([][]byte{idr264}))
	cam.script = digest(right.User, right.Password.Reveal())

	t.Run("right", func(t *testing.T) {
		gd := newGuard(t)
		if _, err := rtsp.New(gd, rtsp.Options{}).Grab(within(t, 10*time.Second), target(cam.url("/live"), right)); err != nil {
			t.Fatal(err)
		}
		if c, ok := gd.Budget().Proven("cam"); !ok || c != right {
			t.Errorf("proven %v %v", c.User, ok)
		}
	})
	t.Run("wrong first", func(t *testing.T) {
		gd := newGuard(t)
		if _, err := rtsp.New(gd, rtsp.Options{}).Grab(within(t, 10*time.Second), target(cam.url("/live"), wrong, right)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("wrong is sent twice in all, then never", func(t *testing.T) {
		cam := newCamera(t, sdp(96, h264SDP), nil) // of its own: a goodbye may still be under way to the other
		cam.script = digest(right.User, right.Password.Reveal())
		g := rtsp.New(newGuard(t), rtsp.Options{})
		for i, want := range []fleet.Cause{fleet.CauseUnauthorized, fleet.CauseUnauthorized, fleet.CauseLocked, fleet.CauseLocked} {
			f, err := g.Grab(within(t, 10*time.Second), target(cam.url("/live"), wrong))
			wantCause(t, f, err, want, "")
			if err != nil && strings.Contains(err.Error(), wrong.Password.Reveal()+"\"") {
				t.Errorf("try %d shows the password: %v", i, err)
			}
		}
		if _, n := cam.count(); n != 2 {
			t.Errorf("the wrong login was sent %d times, want 2", n)
		}
	})
	t.Run("a lone 401 after success is a want of connections", func(t *testing.T) {
		cam := newCamera(t, sdp(96, h264SDP), packets([][]byte{idr264}))
		let := digest(right.User, right.Password.Reveal())
		var sent atomic.Int32
		full := make(chan bool, 1) // one setting
		full <- false
		cam.script = func(c *camera, req *base.Request) *base.Response {
			is := <-full
			full <- is
			if is && len(req.Header["Authorization"]) > 0 && req.Method == base.Describe {
				sent.Add(1) // a goodbye of the grab before may carry it too
			}
			if is && req.Method == base.Describe {
				return digest("nobody", "x")(c, req)
			}
			return let(c, req)
		}
		g := rtsp.New(newGuard(t), rtsp.Options{})
		grab := func() (fleet.Frame, error) {
			return g.Grab(within(t, 10*time.Second), target(cam.url("/live"), right, wrong))
		}
		if _, err := grab(); err != nil {
			t.Fatal(err)
		}
		<-full
		full <- true
		f, err := grab()
		wantCause(t, f, err, fleet.CauseRefused, "out of connections")
		if n := sent.Load(); n != 1 {
			t.Errorf("%d logins were sent for it, want one, and no other login", n)
		}
		<-full
		full <- false
		if _, err := grab(); err != nil {
			t.Error(err)
		}
	})
	t.Run("basic in clear only on an operator's word", func(t *testing.T) {
		only := newCamera(t, sdp(96, h264SDP), packets([][]byte{idr264}))
		only.script = func(_ *camera, req *base.Request) *base.Response {
			if req.Method == base.Options || slices.Contains(req.Header["Authorization"], "Basic dTpw") {
				return nil
			}
			return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{"WWW-Authenticate": base.HeaderValue{`Basic realm="x"`}}}
		}
		u := fleet.Credentials{User: "u", Password: "p"}
		f, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), target(only.url("/"), u))
		wantCause(t, f, err, fleet.CauseUnauthorized, "in clear")
		if !errors.Is(err, guard.ErrUnusable) {
			t.Errorf("%v is not ErrUnusable", err)
		}
		if _, n := only.count(); n != 0 {
			t.Errorf("%d logins were sent", n)
		}
		if _, err := rtsp.New(newGuard(t), rtsp.Options{BasicInClear: true}).Grab(within(t, 10*time.Second), target(only.url("/"), u)); err != nil {
			t.Error(err)
		}
	})
	t.Run("basic over TLS only to an approved camera", func(t *testing.T) {
		only := newCamera(t, sdp(96, h264SDP), packets([][]byte{idr264}))
		only.script = func(_ *camera, req *base.Request) *base.Response {
			if req.Method == base.Options || slices.Contains(req.Header["Authorization"], "Basic dTpw") {
				return nil
			}
			return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{"WWW-Authenticate": base.HeaderValue{`Basic realm="x"`}}}
		}
		at := target(strings.Replace(only.url("/"), "rtsp://"+strings.Split(only.url("/"), "/")[2], "rtsps://"+behindTLS(t, strings.Split(only.url("/"), "/")[2]), 1), fleet.Credentials{User: "u", Password: "p"})
		f, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), at)
		wantCause(t, f, err, fleet.CauseUnauthorized, "approve it first")
		if _, n := only.count(); n != 0 || !errors.Is(err, guard.ErrUnusable) {
			t.Errorf("%d logins were sent, %v", n, err)
		}
		at.Camera = 1
		if _, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), at); err != nil {
			t.Error(err)
		}
	})
	t.Run("a nonce for each request", func(t *testing.T) {
		// SETUP comes back with a new nonce: it is answered, not counted.
		fresh := newCamera(t, sdp(96, h264SDP), packets([][]byte{idr264}))
		seen := map[base.Method]bool{}
		fresh.script = func(_ *camera, req *base.Request) *base.Response {
			if req.Method == base.Options || req.Method == base.Teardown || seen[req.Method] {
				return nil
			}
			seen[req.Method] = true
			return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{
				"WWW-Authenticate": base.HeaderValue{`Digest realm="x", qop="auth", algorithm=SHA-256, nonce="` + string(req.Method) + `", stale=true`},
			}}
		}
		gd := newGuard(t)
		if _, err := rtsp.New(gd, rtsp.Options{}).Grab(within(t, 10*time.Second), target(fresh.url("/"), right)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGrabFollowsOwnHost(t *testing.T) {
	cam := newCamera(t, sdp(96, h264SDP), packets([][]byte{idr264}))
	cam.script = func(c *camera, req *base.Request) *base.Response {
		if req.Method == base.Describe && strings.HasSuffix(req.URL.String(), "/old") {
			return &base.Response{StatusCode: base.StatusMovedPermanently, Header: base.Header{"Location": base.HeaderValue{c.url("/new")}}}
		}
		if req.Method == base.Describe && strings.HasSuffix(req.URL.String(), "/round") {
			return &base.Response{StatusCode: base.StatusFound, Header: base.Header{"Location": base.HeaderValue{c.url("/round")}}}
		}
		return nil
	}
	g := rtsp.New(newGuard(t), rtsp.Options{})
	if _, err := g.Grab(within(t, 10*time.Second), target(cam.url("/old"))); err != nil {
		t.Error(err)
	}
	f, err := g.Grab(within(t, 10*time.Second), target(cam.url("/round")))
	wantCause(t, f, err, fleet.CauseProtocol, "redirects")
}

func TestGrabEndlessPicture(t *testing.T) {
	// One picture that never ends: 20 MiB in fragments.
	ps := packets([][]byte{{0x7c, 0x85}})
	ps[0].Payload = append(ps[0].Payload, make([]byte, 1000)...)
	ps[0].Marker = false
	for i := range 330 {
		ps = append(ps, packets([][]byte{append([]byte{0x7c, 0x05}, make([]byte, 64000)...)})...)
		p := ps[len(ps)-1]
		p.SequenceNumber, p.Marker = ps[0].SequenceNumber+uint16(i)+1, false
	}
	cam := newCamera(t, sdp(96, h264SDP), ps)
	f, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 20*time.Second), target(cam.url("/")))
	wantCause(t, f, err, fleet.CauseTooLarge, "16 MiB")
}

func TestGrabAddress(t *testing.T) {
	g := rtsp.New(newGuard(t), rtsp.Options{})
	for _, u := range []string{"", "http://127.0.0.1/", "rtsp://", "rtsp:///path", "rtsp://user:secret@127.0.0.1/", "rtsp://127.0.0.1/a\nb", "::"} {
		f, err := g.Grab(t.Context(), target(u))
		wantCause(t, f, err, fleet.CauseProtocol, "")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v shows a password", err)
		}
	}
	f, err := g.Grab(t.Context(), fleet.Target{})
	wantCause(t, f, err, fleet.CauseInternal, "")
}
