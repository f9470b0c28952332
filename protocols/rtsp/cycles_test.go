package rtsp_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

func TestGrabCycles(t *testing.T) { cycles(t, 480) }

// open counts this process's descriptors, and its UDP ports apart.
func open(t *testing.T) (files, ports int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to count descriptors in")
	}
	udp, err := os.ReadFile("/proc/self/net/udp")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		inode, is := strings.CutPrefix(to, "socket:[")
		if err == nil && is && strings.Contains(string(udp), " "+strings.TrimSuffix(inode, "]")+" ") {
			ports++
		}
	}
	return len(fds), ports
}

// hostile accepts connections and does to each what f does.
func hostile(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// cycles grabs n times from cameras that refuse, hang up half way, shake half a
// hand and say nothing, over TCP, TLS and UDP: none of it leaves a goroutine, a
// descriptor or a port.
func cycles(t *testing.T, n int) {
	half := newCamera(t, sdp(96, h264SDP), nil)
	half.script = func(_ *camera, req *base.Request) *base.Response {
		if req.Method == base.Setup {
			return &base.Response{}
		}
		return nil
	}
	mute := newCamera(t, sdp(96, h264SDP), nil)
	dropped := newCamera(t, sdp(96, h264SDP), nil)
	dropped.script = func(_ *camera, req *base.Request) *base.Response {
		if req.Method != base.Setup || strings.Contains(req.Header["Transport"][0], "TCP") {
			return nil
		}
		return &base.Response{StatusCode: base.StatusOK, Header: base.Header{
			"Session": base.HeaderValue{"1"}, "Transport": base.HeaderValue{"RTP/AVP/UDP;unicast;server_port=9-10"},
		}}
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	silent := hostile(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	shake := hostile(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1024))
		_, _ = c.Write([]byte{22, 3, 3, 0, 80, 2, 0, 0}) // the head of a ServerHello
		_, _ = io.Copy(io.Discard, c)
	})
	kinds := []struct {
		url  string
		wait time.Duration
	}{
		{half.url("/"), 10 * time.Second},
		{mute.url("/"), 5 * time.Millisecond},
		{"rtsp://" + gone.Addr().String() + "/", 10 * time.Second},
		{dropped.url("/"), 10 * time.Millisecond},
		{"rtsp://" + silent + "/", 3 * time.Millisecond},
		{"rtsps://" + shake + "/", 5 * time.Millisecond},
	}
	g := rtsp.New(newGuard(t), rtsp.Options{UDPFirst: true})
	round := func(n int) {
		for i := range n {
			k := kinds[i%len(kinds)]
			if i%12 < 6 {
				g.Prefer(strings.TrimSuffix(strings.SplitN(k.url, "//", 2)[1], "/"), rtsp.UDP)
			}
			if f, err := g.Grab(within(t, k.wait), fleet.Target{Device: fmt.Sprint(i % len(kinds)), Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: k.url}}}); err == nil {
				t.Fatalf("%d bytes from nowhere", len(f.Data))
			}
		}
	}
	round(2 * len(kinds)) // what is there for good is there now
	settled := func() (files, ports, routines int) {
		// The cameras' ends close when theirs do.
		for end := time.Now().Add(10 * time.Second); ; {
			files, ports = open(t)
			half.mu.Lock()
			mute.mu.Lock()
			dropped.mu.Lock()
			ends := half.open + mute.open + dropped.open
			dropped.mu.Unlock()
			mute.mu.Unlock()
			half.mu.Unlock()
			routines = runtime.NumGoroutine()
			if ends == 0 && ports == 0 || time.Now().After(end) {
				return files, ports, routines
			}
			runtime.Gosched()
		}
	}
	files, _, routines := settled()
	round(n)
	for end := time.Now().Add(time.Minute); ; {
		f, p, r := settled()
		if f <= files && p == 0 && r <= routines {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors, %d UDP ports and %d goroutines after %d grabs; there were %d, none and %d", f, p, r, n, files, routines)
		}
	}
}
