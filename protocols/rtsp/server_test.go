package rtsp_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

// server is the library's own server with one stream, whose packets are sent
// again and again as a camera's are.
type server struct {
	gortsplib.Server
	stream *gortsplib.ServerStream
	desc   *description.Session

	mu     sync.Mutex
	tcp    bool // refuses UDP
	udp    bool // refuses TCP
	setups []gortsplib.Transport
	login  *fleet.Credentials // nil for none
}

func (s *server) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if s.login != nil && !ctx.Conn.VerifyCredentials(ctx.Request, s.login.User, s.login.Password.Reveal()) {
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *server) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setups = append(s.setups, ctx.Transport)
	if s.udp && ctx.Transport == gortsplib.TransportTCP || s.tcp && ctx.Transport != gortsplib.TransportTCP {
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *server) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (s *server) asked() []gortsplib.Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]gortsplib.Transport(nil), s.setups...)
}

// start serves the formats, one media each; next makes the packets of media 0.
func start(t *testing.T, s *server, medias []*description.Media, next func(n int) []*rtp.Packet) string {
	t.Helper()
	s.desc = &description.Session{Medias: medias}
	s.Handler = s
	s.Listen = func(network, address string) (net.Listener, error) {
		ln, err := net.Listen(network, address)
		if err == nil {
			s.RTSPAddress = ln.Addr().String()
		}
		return ln, err
	}
	for try := 1; ; try++ {
		s.RTSPAddress = "127.0.0.1:0"
		if s.TLSConfig == nil {
			s.UDPRTPAddress, s.UDPRTCPAddress = pair(t)
		}
		err := s.Start()
		if err == nil {
			break
		}
		if try == 20 || !errors.Is(err, syscall.EADDRINUSE) { // somebody was quicker to take a port
			t.Fatal(err)
		}
	}
	s.stream = &gortsplib.ServerStream{Server: &s.Server, Desc: s.desc}
	if err := s.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for _, p := range next(n) {
				if s.stream.WritePacketRTP(medias[0], p) != nil {
					return
				}
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait(); s.stream.Close(); s.Close() })
	return "rtsp://" + s.RTSPAddress + "/stream"
}

// pair returns the addresses of two ports in a row, the lower even, that are
// free at the moment.
func pair(t *testing.T) (rtp, rtcp string) {
	t.Helper()
	for {
		a, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := a.LocalAddr().(*net.UDPAddr)
		b, err := net.ListenPacket("udp", (&net.UDPAddr{IP: at.IP, Port: at.Port + 1}).String())
		if err == nil {
			if at.Port%2 == 0 {
				rtp, rtcp = a.LocalAddr().String(), b.LocalAddr().String()
			}
			b.Close()
		}
		a.Close()
		if rtp != "" {
			return rtp, rtcp
		}
	}
}

// h264Server sends a key frame after every nine others.
func h264Server(t *testing.T, s *server) string {
	seq := uint16(0)
	return start(t, s, []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{
		&format.H264{PayloadTyp: 96, SPS: sps264, PPS: pps264, PacketizationMode: 1},
	}}}, func(n int) []*rtp.Packet {
		picture := [][]byte{inter264}
		if n%10 == 9 {
			picture = [][]byte{idr264, more264}
		}
		ps := packets(picture)
		for _, p := range ps {
			p.SequenceNumber, p.Timestamp = seq, uint32(3000*n)
			seq++
		}
		return ps
	})
}

func TestGrabOverUDP(t *testing.T) {
	s := &server{udp: true}
	url := h264Server(t, s)
	g := rtsp.New(newGuard(t), rtsp.Options{})
	for range 2 {
		f, err := g.Grab(within(t, 10*time.Second), target(url))
		if err != nil || string(f.Data) != annexB(sps264, pps264, idr264, more264) {
			t.Fatalf("Grab = %x, %v", f.Data, err)
		}
	}
	got := s.asked()
	want := []gortsplib.Transport{gortsplib.TransportTCP, gortsplib.TransportUDP, gortsplib.TransportUDP}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("SETUPs %v, want %v: what worked is remembered", got, want)
	}
	// The camera changes its mind: one more SETUP, and TCP is back.
	s.mu.Lock()
	s.udp, s.tcp, s.setups = false, true, nil
	s.mu.Unlock()
	if _, err := g.Grab(within(t, 10*time.Second), target(url)); err != nil {
		t.Error(err)
	}
	if got := s.asked(); len(got) != 2 || got[1] != gortsplib.TransportTCP {
		t.Errorf("SETUPs %v", got)
	}
}

// UDP that is agreed on and dropped on the way, or not permitted here, gives
// way to TCP in the same grab, and for the next ones.
func TestGrabUDPDropped(t *testing.T) {
	var offered atomic.Int32 // UDP
	dropping := func() *camera {
		c := newCamera(t, sdp(96, h264SDP), packets([][]byte{idr264}))
		c.script = func(c *camera, req *base.Request) *base.Response {
			if tr := req.Header["Transport"]; req.Method != base.Setup || strings.Contains(tr[0], "TCP") {
				return nil
			}
			offered.Add(1)
			return &base.Response{StatusCode: base.StatusOK, Header: base.Header{
				"Session":   base.HeaderValue{"1"},
				"Transport": base.HeaderValue{"RTP/AVP/UDP;unicast;server_port=9-10"}, // discard
			}}
		}
		return c
	}
	t.Run("dropped", func(t *testing.T) {
		c := dropping()
		g := rtsp.New(newGuard(t), rtsp.Options{UDPFirst: true})
		if _, err := g.Grab(within(t, time.Minute), target(c.url("/"))); err != nil {
			t.Fatal(err)
		}
		if got, ok := g.Transport(c.ln.Addr().String()); !ok || got != rtsp.TCP {
			t.Errorf("Transport = %q, %v", got, ok)
		}
		if _, err := g.Grab(within(t, time.Minute), target(c.url("/"))); err != nil || offered.Load() != 1 {
			t.Errorf("two grabs: %v; UDP was offered %d times, want once", err, offered.Load())
		}
	})
	t.Run("not permitted", func(t *testing.T) {
		c := dropping()
		g := rtsp.New(newGuard(t), rtsp.Options{UDPFirst: true})
		g.ListenUDPBy(func(string, *net.UDPAddr) (*net.UDPConn, error) {
			return nil, &net.OpError{Op: "listen", Net: "udp", Err: os.NewSyscallError("socket", syscall.EPERM)}
		})
		if _, err := g.Grab(within(t, 10*time.Second), target(c.url("/"))); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("and TCP is refused", func(t *testing.T) {
		c := dropping()
		udp := c.script
		c.script = func(c *camera, req *base.Request) *base.Response {
			if res := udp(c, req); res != nil || req.Method != base.Setup {
				return res
			}
			return &base.Response{StatusCode: base.StatusUnsupportedTransport}
		}
		for _, first := range []bool{true, false} {
			f, err := patient(t, rtsp.New(newGuard(t), rtsp.Options{UDPFirst: first}), c.url("/"), time.Second, "let UDP from it through")
			wantCause(t, f, err, fleet.CauseTimeout, "let UDP from it through")
		}
	})
}

// A camera that refuses TCP is waited for, beyond the time after which TCP would
// be tried.
func TestGrabUDPLate(t *testing.T) {
	s := &server{udp: true}
	url := start(t, s, []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{
		&format.H264{PayloadTyp: 96, SPS: sps264, PPS: pps264, PacketizationMode: 1},
	}}}, func(n int) []*rtp.Packet {
		if n < 800 { // 4 s
			return nil
		}
		ps := packets([][]byte{idr264, more264})
		for i, p := range ps {
			p.SequenceNumber, p.Timestamp = uint16(2*n+i), uint32(3000*n)
		}
		return ps
	})
	f, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, time.Minute), target(url))
	if err != nil || string(f.Data) != annexB(sps264, pps264, idr264, more264) {
		t.Errorf("Grab = %x, %v", f.Data, err)
	}
}

// What worked is told, and taken back by a new Grabber.
func TestTransportIsRemembered(t *testing.T) {
	s := &server{udp: true}
	url := h264Server(t, s)
	g := rtsp.New(newGuard(t), rtsp.Options{})
	if _, err := g.Grab(within(t, 10*time.Second), target(url)); err != nil {
		t.Fatal(err)
	}
	got, ok := g.Transport(s.RTSPAddress)
	if !ok || got != rtsp.UDP {
		t.Fatalf("Transport = %q, %v", got, ok)
	}
	s.mu.Lock()
	s.setups = nil
	s.mu.Unlock()
	g = rtsp.New(newGuard(t), rtsp.Options{})
	g.Prefer(s.RTSPAddress, got)
	if _, err := g.Grab(within(t, 10*time.Second), target(url)); err != nil {
		t.Fatal(err)
	}
	if got := s.asked(); len(got) != 1 || got[0] != gortsplib.TransportUDP {
		t.Errorf("SETUPs %v", got)
	}
}

func TestGrabDigests(t *testing.T) {
	login := fleet.Credentials{User: "viewer", Password: `p:@"\ß`, Version: 1}
	for name, m := range map[string]auth.VerifyMethod{"MD5": auth.VerifyMethodDigestMD5, "SHA-256": auth.VerifyMethodDigestSHA256} {
		s := &server{login: &login}
		s.AuthMethods = []auth.VerifyMethod{m}
		if _, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), target(h264Server(t, s), login)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGrabUDPFirst(t *testing.T) {
	s := &server{}
	url := h264Server(t, s)
	if _, err := rtsp.New(newGuard(t), rtsp.Options{UDPFirst: true}).Grab(within(t, 10*time.Second), target(url)); err != nil {
		t.Fatal(err)
	}
	if got := s.asked(); len(got) != 1 || got[0] != gortsplib.TransportUDP {
		t.Errorf("SETUPs %v", got)
	}
}

// M-JPEG is chosen beside H.264, and comes out as a JPEG that decodes.
func TestGrabJPEG(t *testing.T) {
	img := image.NewYCbCr(image.Rect(0, 0, 160, 96), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = byte(i % 160)
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 128, 128
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	f := &format.MJPEG{}
	enc, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{}
	url := start(t, s, []*description.Media{
		{Type: description.MediaTypeVideo, Formats: []format.Format{f}},
		{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96, PacketizationMode: 1}}},
		{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1}}},
	}, func(n int) []*rtp.Packet {
		ps, err := enc.Encode(b.Bytes())
		if err != nil {
			t.Error(err)
		}
		for _, p := range ps {
			p.Timestamp = uint32(3000 * n)
		}
		return ps
	})
	frame, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), target(url))
	if err != nil {
		t.Fatal(err)
	}
	got, err := jpeg.Decode(bytes.NewReader(frame.Data))
	if err != nil || frame.Codec != fleet.JPEG || got.Bounds() != img.Bounds() {
		t.Fatalf("%s of %d bytes: %v", frame.Codec, len(frame.Data), err)
	}
	luma, ok := got.(*image.YCbCr)
	if !ok {
		t.Fatalf("%T", got)
	}
	if a, b := luma.YCbCrAt(50, 50).Y, img.YCbCrAt(50, 50).Y; max(a, b)-min(a, b) > 4 {
		t.Errorf("luma %d, want about %d", a, b)
	}
}

func TestGrabManyAtOnce(t *testing.T) {
	url := h264Server(t, &server{})
	g := rtsp.New(newGuard(t), rtsp.Options{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := g.Grab(within(t, 20*time.Second), target(url)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// RTSPS stays on its TLS connection, also where UDP comes first.
func TestGrabTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	s := &server{}
	s.TLSConfig = web.TLS
	url := strings.Replace(h264Server(t, s), "rtsp://", "rtsps://", 1)
	gd := newGuard(t)
	g := rtsp.New(gd, rtsp.Options{UDPFirst: true}) // which plain UDP must not follow from
	if _, err := g.Grab(within(t, 10*time.Second), target(url)); err != nil {
		t.Fatal(err)
	}
	if got := s.asked(); len(got) != 1 || got[0] != gortsplib.TransportTCP {
		t.Errorf("SETUPs %v", got)
	}
}

// behindTLS returns an address that carries TLS to another one.
func behindTLS(t *testing.T, to string) string {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", web.TLS)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				d, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer d.Close()
				wg.Go(func() { _, _ = io.Copy(d, c); _ = d.Close() })
				_, _ = io.Copy(c, d)
			})
		}
	})
	return l.Addr().String()
}

func TestGrabH265(t *testing.T) {
	vps, sps, pps := []byte{0x40, 1, 0x0c}, []byte{0x42, 1, 1}, []byte{0x44, 1, 0xc1}
	idr, later, inter := []byte{0x26, 1, 0x80, 1}, []byte{0x26, 1, 0x00, 2}, []byte{0x02, 1, 0x80}
	cam := newCamera(t, sdp(96, "a=rtpmap:96 H265/90000"), packets([][]byte{inter}, [][]byte{{0x46, 1, 0x50}, vps, sps, pps, idr, later}))
	f, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), target(cam.url("/")))
	if err != nil || f.Codec != fleet.H265 || string(f.Data) != annexB(vps, sps, pps, idr, later) {
		t.Errorf("Grab = %x of %s, %v", f.Data, f.Codec, err)
	}
}

// A camera that would have UDP go to another host gets none.
func TestGrabUDPElsewhere(t *testing.T) {
	cam := newCamera(t, sdp(96, h264SDP), nil)
	cam.script = func(_ *camera, req *base.Request) *base.Response {
		if req.Method != base.Setup {
			return nil
		}
		return &base.Response{StatusCode: base.StatusOK, Header: base.Header{
			"Session":   base.HeaderValue{"1"},
			"Transport": base.HeaderValue{"RTP/AVP;unicast;source=127.0.0.99;server_port=5000-5001"},
		}}
	}
	f, err := rtsp.New(newGuard(t), rtsp.Options{UDPFirst: true}).Grab(within(t, 10*time.Second), target(cam.url("/")))
	wantCause(t, f, err, fleet.CauseGuarded, "127.0.0.99")
}
