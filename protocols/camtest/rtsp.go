package camtest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"
)

// clip is two seconds of the shelf, ten frames a second, a key frame each
// second. TestClip -update makes it anew.
//
//go:embed clip.h264
var clip []byte

const fps = 10

// stream is one RTSP path.
type stream struct {
	path   string
	media  *description.Media
	server *gortsplib.ServerStream
	next   func() []*rtp.Packet // the packets of the next frame

	mu      sync.Mutex
	players int
}

// rtspServer is the handler of one camera's RTSP server.
type rtspServer struct {
	c   *virtual
	ctx context.Context

	mu      sync.RWMutex // held until all streams are there
	streams []*stream
}

// serveRTSP serves the camera's streams until ctx ends.
func (c *virtual) serveRTSP(ctx context.Context, ln net.Listener) error {
	if !c.offers(OfferRTSPJPEG) && !c.offers(OfferRTSPH264) {
		err := ln.Close()
		<-ctx.Done()
		return err
	}
	h := &rtspServer{c: c, ctx: ctx}
	h.mu.Lock()
	locked := true
	defer func() {
		if locked {
			h.mu.Unlock()
		}
	}()
	srv := &gortsplib.Server{
		Handler: h, RTSPAddress: ln.Addr().String(), AuthMethods: []auth.VerifyMethod{auth.VerifyMethodDigestMD5},
		Listen: func(string, string) (net.Listener, error) { return ln, nil },
	}
	if err := srv.Start(); err != nil {
		return errors.Join(err, ln.Close())
	}
	defer srv.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, offer := range []Offer{OfferRTSPJPEG, OfferRTSPH264} {
		if !c.offers(offer) {
			continue
		}
		s, err := c.stream(offer)
		if err != nil {
			return err
		}
		s.server = &gortsplib.ServerStream{Server: srv, Desc: &description.Session{Medias: []*description.Media{s.media}}}
		if err := s.server.Initialize(); err != nil {
			return err
		}
		defer s.server.Close()
		h.streams = append(h.streams, s)
		wg.Go(func() { s.play(ctx) })
	}
	h.mu.Unlock()
	locked = false
	<-ctx.Done()
	return nil
}

// stream makes a path's format and the source of its packets.
func (c *virtual) stream(o Offer) (*stream, error) {
	if o == OfferRTSPJPEG {
		f := &format.MJPEG{}
		enc, err := f.CreateEncoder()
		if err != nil {
			return nil, err
		}
		return &stream{path: "jpeg", media: &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f}}, next: func() []*rtp.Packet {
			pkts, err := enc.Encode(c.picture())
			if err != nil {
				return nil
			}
			return pkts
		}}, nil
	}
	units := accessUnits(clip)
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: units[0][0], PPS: units[0][1]}
	enc, err := f.CreateEncoder()
	if err != nil {
		return nil, err
	}
	n := 0
	return &stream{path: "h264", media: &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f}}, next: func() []*rtp.Packet {
		au := units[n%len(units)]
		n++
		pkts, err := enc.Encode(au)
		if err != nil {
			return nil
		}
		return pkts
	}}, nil
}

// accessUnits splits an Annex B stream with one slice a picture.
func accessUnits(b []byte) (units [][][]byte) {
	var au [][]byte
	for _, nal := range bytes.Split(b, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) == 0 {
			continue
		}
		switch nal[0] & 31 {
		case 7, 8:
			au = append(au, nal)
		case 1, 5:
			units = append(units, append(au, nal))
			au = nil
		}
	}
	return units
}

// play writes frames while somebody looks.
func (s *stream) play(ctx context.Context) {
	tick := time.NewTicker(time.Second / fps)
	defer tick.Stop()
	begin := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		watched := s.players > 0
		s.mu.Unlock()
		if !watched {
			continue
		}
		stamp := uint32(time.Since(begin).Milliseconds() * 90)
		for _, p := range s.next() {
			p.Timestamp = stamp
			_ = s.server.WritePacketRTP(s.media, p) //nolint:errcheck // a viewer that lags loses frames
		}
	}
}

func (h *rtspServer) find(path string) *stream {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, s := range h.streams {
		if strings.Trim(path, "/") == s.path {
			return s
		}
	}
	return nil
}

// login checks the credentials of a request.
func (h *rtspServer) login(conn *gortsplib.ServerConn, r *base.Request) (*base.Response, error) {
	if !h.c.Login {
		return nil, nil
	}
	good := conn.VerifyCredentials(r, h.c.town.opts.User, h.c.town.opts.Password.Reveal())
	if _, tried := r.Header["Authorization"]; tried {
		good = h.c.judge(good)
	}
	if !good {
		return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
	}
	return nil, nil
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (h *rtspServer) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if !h.c.hold(h.ctx) {
		return &base.Response{StatusCode: base.StatusServiceUnavailable}, nil, errors.New("the town ends")
	}
	if res, err := h.login(ctx.Conn, ctx.Request); err != nil {
		return res, nil, err
	}
	s := h.find(ctx.Path)
	if s == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, s.server, nil
}

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (h *rtspServer) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := h.login(ctx.Conn, ctx.Request); err != nil {
		return res, nil, err
	}
	s := h.find(ctx.Path)
	if s == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, s.server, nil
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (h *rtspServer) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	if s := h.find(ctx.Path); s != nil {
		s.mu.Lock()
		s.players++
		s.mu.Unlock()
		ctx.Session.SetUserData(s)
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose implements gortsplib.ServerHandlerOnSessionClose.
func (h *rtspServer) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	if s, ok := ctx.Session.UserData().(*stream); ok {
		s.mu.Lock()
		s.players--
		s.mu.Unlock()
	}
}
