package rtsp_test

import (
	"context"
	"crypto/md5" //nolint:gosec // Digest is built on it
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/conn"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// camera is a scripted RTSP server: it answers what a test says, and sends its
// packets over the connection after PLAY.
type camera struct {
	t      *testing.T
	ln     net.Listener
	script func(c *camera, req *base.Request) *base.Response
	sdp    string
	rtp    []*rtp.Packet

	mu       sync.Mutex
	requests []string
	logins   int // requests that carried a login
	open     int // connections
}

func newCamera(t *testing.T, sdp string, packets []*rtp.Packet) *camera {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &camera{t: t, ln: ln, sdp: sdp, rtp: packets}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.open++
			c.mu.Unlock()
			wg.Go(func() {
				defer func() { nc.Close(); c.mu.Lock(); c.open--; c.mu.Unlock() }()
				c.serve(nc)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return c
}

func (c *camera) url(path string) string { return "rtsp://" + c.ln.Addr().String() + path }

func (c *camera) serve(nc net.Conn) {
	rc := conn.NewConn(nc)
	interleaved := false
	for {
		what, err := rc.Read()
		if err != nil {
			return
		}
		req, ok := what.(*base.Request)
		if !ok {
			continue
		}
		c.mu.Lock()
		c.requests = append(c.requests, string(req.Method))
		if len(req.Header["Authorization"]) > 0 {
			c.logins++
		}
		c.mu.Unlock()
		var res *base.Response
		if c.script != nil {
			res = c.script(c, req)
		}
		if res == nil {
			res = c.answer(req)
		}
		if res.StatusCode == 0 {
			return // hang up
		}
		if res.Header == nil {
			res.Header = base.Header{}
		}
		res.Header["CSeq"] = req.Header["CSeq"]
		if err := rc.WriteResponse(res); err != nil {
			return
		}
		if tr := res.Header["Transport"]; len(tr) > 0 {
			interleaved = strings.Contains(tr[0], "interleaved")
		}
		if interleaved && req.Method == base.Play && res.StatusCode == base.StatusOK {
			for _, p := range c.rtp {
				b, err := p.Marshal()
				if err != nil {
					panic(err)
				}
				if rc.WriteInterleavedFrame(&base.InterleavedFrame{Channel: 0, Payload: b}, make([]byte, len(b)+4)) != nil {
					return
				}
			}
		}
	}
}

// answer is what a plain camera says.
func (c *camera) answer(req *base.Request) *base.Response {
	h := base.Header{}
	switch req.Method {
	case base.Describe:
		h["Content-Type"] = base.HeaderValue{"application/sdp"}
		return &base.Response{StatusCode: base.StatusOK, Header: h, Body: []byte(c.sdp)}
	case base.Setup:
		if strings.Contains(req.Header["Transport"][0], "TCP") {
			h["Transport"] = base.HeaderValue{"RTP/AVP/TCP;unicast;interleaved=0-1"}
		} else {
			return &base.Response{StatusCode: base.StatusUnsupportedTransport}
		}
	}
	h["Session"] = base.HeaderValue{"12345"}
	return &base.Response{StatusCode: base.StatusOK, Header: h}
}

func (c *camera) count() (requests []string, logins int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.requests...), c.logins
}

// digest returns a script that lets one user in, by MD5 or as the challenge says.
func digest(user, password string) func(*camera, *base.Request) *base.Response {
	const nonce = "0123456789abcdef"
	return func(_ *camera, req *base.Request) *base.Response {
		if req.Method == base.Options {
			return nil
		}
		sum := func(s string) string {
			h := md5.Sum([]byte(s)) //nolint:gosec // see above
			return hex.EncodeToString(h[:])
		}
		want := sum(sum(user+":cam:"+password) + ":" + nonce + ":" + sum(string(req.Method)+":"+req.URL.String()))
		for _, a := range req.Header["Authorization"] {
			if strings.Contains(a, `response="`+want+`"`) {
				return nil
			}
		}
		return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{
			"WWW-Authenticate": base.HeaderValue{`Basic realm="cam"`, `Digest realm="cam", nonce="` + nonce + `"`},
		}}
	}
}

// sdp writes a description with one video media.
func sdp(payload int, lines ...string) string {
	return "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
		fmt.Sprintf("m=video 0 RTP/AVP %d\r\na=control:trackID=0\r\n", payload) + strings.Join(append(lines, ""), "\r\n")
}

// Units of H.264 that are true enough for what looks at headers only.
var (
	sps264   = []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0x3b, 0x50, 0xb0, 0x4b, 0x42, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x3d, 0x08}
	pps264   = []byte{0x68, 0xee, 0x3c, 0x80}
	idr264   = []byte{0x65, 0x88, 0x84, 0x00, 0x10, 0xff}
	more264  = []byte{0x65, 0x40, 0x84, 0x00, 0x10, 0xfe} // a later slice
	inter264 = []byte{0x61, 0x9a, 0x24, 0x6c, 0x41}
	aud264   = []byte{0x09, 0xf0}
)

var h264SDP = "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=" +
	base64.StdEncoding.EncodeToString(sps264) + "," + base64.StdEncoding.EncodeToString(pps264)

// packets puts each unit into a packet of its own; the last of a picture has the marker.
func packets(pictures ...[][]byte) []*rtp.Packet {
	var out []*rtp.Packet
	seq := uint16(65530) // and past its end
	for i, units := range pictures {
		for j, u := range units {
			out = append(out, &rtp.Packet{
				Header:  rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, Timestamp: uint32(3000 * i), SSRC: 7, Marker: j == len(units)-1},
				Payload: u,
			})
			seq++
		}
	}
	return out
}

func annexB(units ...[]byte) string {
	var b strings.Builder
	for _, u := range units {
		b.WriteString("\x00\x00\x00\x01")
		b.Write(u)
	}
	return b.String()
}

func target(url string, cs ...fleet.Credentials) fleet.Target {
	return fleet.Target{Device: "cam", Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: url}}, Credentials: cs}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func newGuard(t testing.TB) *guard.Guard {
	g := guard.New(guard.Options{})
	t.Cleanup(g.Close)
	return g
}
