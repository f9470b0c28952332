package camtest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const rtpClock = 90000 // RFC 2435 and RFC 6184

// rtspServer is a camera's RTSP side: one stream over TCP. While nobody
// watches, nothing is drawn. While somebody joins, nothing is sent: whoever
// comes gets nothing that was drawn before, no half of a picture, and a key
// frame first.
//
//	PLAY ─► joins ─► its answer ─► nudge ─► loop: picture (JPEG) or access unit (clip) ─► RTP ─► all who watch
type rtspServer struct {
	c      *camera
	port   uint16
	server *gortsplib.Server
	stream *gortsplib.ServerStream
	media  *description.Media
	encode func(key bool) ([]*rtp.Packet, error) // the next frame
	nudge  chan struct{}                         // cap 1: somebody new watches
	cancel context.CancelFunc
	loops  sync.WaitGroup

	sending sync.Mutex // held while a picture is drawn and sent

	mu       sync.Mutex // guards what follows
	watching map[*gortsplib.ServerSession]bool
	joining  map[*gortsplib.ServerConn]bool // asked to watch, and will be answered
	joined   bool                           // somebody did, and had no key frame yet
	places   map[*gortsplib.ServerSession]func()
}

func newRTSPServer(c *camera, l net.Listener) (*rtspServer, error) {
	ok := false
	defer func() {
		if !ok {
			_ = l.Close()
		}
	}()
	r := &rtspServer{
		c: c, port: l.Addr().(*net.TCPAddr).AddrPort().Port(), nudge: make(chan struct{}, 1),
		watching: map[*gortsplib.ServerSession]bool{}, joining: map[*gortsplib.ServerConn]bool{}, places: map[*gortsplib.ServerSession]func(){},
	}
	var form format.Format
	var err error
	if c.Codec == fleet.H264 {
		form, r.encode, err = clipEncoder(c)
	} else {
		form, r.encode, err = jpegEncoder(c)
	}
	if err != nil {
		return nil, err
	}
	r.media = &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{form}}
	method := auth.VerifyMethodDigestMD5
	if c.SHA256 {
		method = auth.VerifyMethodDigestSHA256
	}
	r.server = &gortsplib.Server{
		Handler:        r,
		RTSPAddress:    l.Addr().String(),
		AuthMethods:    []auth.VerifyMethod{method},
		WriteQueueSize: 1024, // packets: a drawn key frame has some 250
		Listen:         func(string, string) (net.Listener, error) { return c.wrap(l), nil },
	}
	if err := r.server.Start(); err != nil {
		return nil, fmt.Errorf("start rtsp: %w", err)
	}
	ok = true // the server closes the listener
	r.stream = &gortsplib.ServerStream{Server: r.server, Desc: &description.Session{Title: c.Name, Medias: []*description.Media{r.media}}}
	if err := r.stream.Initialize(); err != nil {
		r.server.Close()
		return nil, fmt.Errorf("start rtsp stream: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // ends by stop
	r.cancel = cancel
	r.loops.Go(func() { r.loop(ctx) })
	return r, nil
}

func (r *rtspServer) stop() {
	r.cancel()
	r.loops.Wait()
	r.stream.Close()
	r.server.Close()
}

// loop sends pictures while somebody watches.
func (r *rtspServer) loop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.nudge:
			timer.Reset(0)
		case <-timer.C:
			timer.Reset(frameEvery)
			if !r.send() {
				timer.Reset(time.Hour) // until somebody comes
			}
		}
	}
}

// send sends the next picture, if anybody is to have one.
func (r *rtspServer) send() bool {
	r.sending.Lock()
	defer r.sending.Unlock()
	n, key := r.audience()
	if n == 0 {
		return false
	}
	packets, err := r.encode(key)
	if err != nil {
		r.c.log.Error("picture not streamed", "protocol", "rtsp", "err", err)
		return true
	}
	// Counted before: who has the picture finds it counted.
	r.c.counted(func(s *Stats) { s.Pictures += n })
	for _, p := range packets {
		if r.stream.WritePacketRTP(r.media, p) != nil {
			break // the server ended
		}
	}
	return true
}

// audience returns how many watch, none while somebody joins, and whether one
// of them waits for a key frame.
func (r *rtspServer) audience() (n int, key bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.joining) > 0 || len(r.watching) == 0 {
		return 0, false
	}
	key, r.joined = r.joined, false
	return len(r.watching), key
}

// rtpTime gives timestamps by the clock, from a random start (RFC 3550).
func rtpTime() func() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	first, start := binary.BigEndian.Uint32(b[:]), time.Now()
	return func() uint32 { return first + uint32(time.Since(start).Milliseconds()*rtpClock/1000) }
}

func jpegEncoder(c *camera) (format.Format, func(bool) ([]*rtp.Packet, error), error) {
	e := &rtpmjpeg.Encoder{}
	if err := e.Init(); err != nil {
		return nil, nil, fmt.Errorf("start rtp/jpeg: %w", err)
	}
	stamp := rtpTime()
	return &format.MJPEG{}, func(bool) ([]*rtp.Packet, error) {
		b, err := c.frame()
		if err != nil {
			return nil, err
		}
		ps, err := e.Encode(b)
		return stamped(ps, stamp()), err
	}, nil
}

// clipEncoder repeats the scene's clip. Whoever is new gets a key frame next. A
// frozen camera goes on with one key frame; the other faults of pictures are
// drawn, as no clip shows them.
func clipEncoder(c *camera) (format.Format, func(bool) ([]*rtp.Packet, error), error) {
	k, err := openClip(c.Scene)
	if err != nil {
		return nil, nil, err
	}
	f := &format.H264{PayloadTyp: 96, SPS: k.sps, PPS: k.pps, PacketizationMode: 1}
	e := &rtph264.Encoder{PayloadType: 96, PacketizationMode: 1}
	if err := e.Init(); err != nil {
		return nil, nil, fmt.Errorf("start rtp/h264: %w", err)
	}
	scene, _ := newView(c.Scene, seedOf(clipScenes[c.Scene]), clipWidth, clipHeight) // as the clip shows it
	stamp := rtpTime()
	at := 0
	var last [][]byte // the last key frame
	drawn, was := uint(0), false
	return f, func(key bool) ([]*rtp.Packet, error) {
		faults, frozen := c.spoiled()
		unit := last
		switch {
		case frozen && last != nil:
		case len(faults) > 0:
			unit = plainKey(c.look(scene, faults), drawn)
			last, was = unit, true
			drawn++
		default:
			if key || frozen || was {
				at = k.nextKey(at)
			}
			if unit, was = k.units[at], false; k.key(at) {
				last = unit
			}
			at = (at + 1) % len(k.units)
		}
		ps, err := e.Encode(unit)
		return stamped(ps, stamp()), err
	}, nil
}

func stamped(ps []*rtp.Packet, at uint32) []*rtp.Packet {
	for _, p := range ps {
		p.Timestamp += at
	}
	return ps
}

// let judges a request: nil lets it pass.
func (r *rtspServer) let(conn *gortsplib.ServerConn, req *base.Request) (*base.Response, error) {
	if r.c.Open {
		return nil, nil
	}
	right := conn.VerifyCredentials(req, r.c.User, r.c.password().Reveal())
	_, tried := req.Header["Authorization"]
	if tried && r.c.login(right) {
		return nil, nil
	}
	return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
}

func (r *rtspServer) path(p string) bool { return p == rtspPath || p == rtspPath+"/" }

// OnDescribe is called by the server library for DESCRIBE.
func (r *rtspServer) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := r.let(ctx.Conn, ctx.Request); err != nil {
		return res, nil, err
	}
	if !r.path(ctx.Path) {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, r.stream, nil
}

// OnSetup is called by the server library for SETUP.
func (r *rtspServer) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := r.let(ctx.Conn, ctx.Request); err != nil {
		return res, nil, err
	}
	if !r.path(ctx.Path) {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places[ctx.Session] == nil {
		free, ok := r.c.claim()
		if !ok {
			return &base.Response{StatusCode: base.StatusNotEnoughBandwidth}, nil, nil
		}
		r.places[ctx.Session] = free
	}
	return &base.Response{StatusCode: base.StatusOK}, r.stream, nil
}

// OnPlay is called by the server library for PLAY. The library has the session
// watch when this returns.
func (r *rtspServer) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	r.sending.Lock() // a picture that is on its way is not for this one
	defer r.sending.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watching[ctx.Session], r.joining[ctx.Conn] = true, true
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnResponse is called by the server library before it sends an answer, and
// behind OnPlay always: by then the session watches.
func (r *rtspServer) OnResponse(conn *gortsplib.ServerConn, _ *base.Response) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.joining[conn] {
		return
	}
	delete(r.joining, conn)
	r.joined = true
	select {
	case r.nudge <- struct{}{}:
	default: // one is on its way
	}
}

// OnPause is called by the server library for PAUSE.
func (r *rtspServer) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	r.mu.Lock()
	delete(r.watching, ctx.Session)
	r.mu.Unlock()
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose is called by the server library when a session ends.
func (r *rtspServer) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	r.mu.Lock()
	delete(r.watching, ctx.Session)
	free := r.places[ctx.Session]
	delete(r.places, ctx.Session)
	r.mu.Unlock()
	if free != nil {
		free()
	}
}
