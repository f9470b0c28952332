package rtsp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// udpSilence is how long a stream over UDP may stay silent before TCP is tried:
// a filter on the way drops packets without a word, and a camera that plays
// sends its first within a frame or two.
const udpSilence = 3 * time.Second

// errNoUDP says that UDP was agreed on and does not get through.
var errNoUDP = errors.New("no packet came over UDP")

// Transport is how a stream's packets travel.
type Transport string

// The transports.
const (
	TCP Transport = "tcp" // within the RTSP connection
	UDP Transport = "udp"
)

// Transport returns the transport that is asked for first at a host and port as
// they stand in an address; false when nothing was learned, which means TCP
// unless Options say otherwise.
func (g *Grabber) Transport(host string) (Transport, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	tr, ok := g.learned[host]
	if ok && tr == gortsplib.TransportUDP {
		return UDP, true
	}
	return TCP, ok
}

// Prefer has a transport asked for first, as one that worked there before. What
// is seen later takes its place.
func (g *Grabber) Prefer(host string, t Transport) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch t {
	case UDP:
		g.remember(host, gortsplib.TransportUDP)
	case TCP:
		g.remember(host, gortsplib.TransportTCP)
	}
}

// remember makes room for a host. Callers hold mu.
func (g *Grabber) remember(host string, tr gortsplib.Transport) {
	if _, ok := g.learned[host]; !ok && len(g.learned) >= maxLearned {
		for h := range g.learned {
			delete(g.learned, h)
			break
		}
	}
	g.learned[host] = tr
}

// transports returns the transports to ask a host for, in order.
func (g *Grabber) transports(u *base.URL) []gortsplib.Transport {
	if u.Scheme == "rtsps" {
		return []gortsplib.Transport{gortsplib.TransportTCP} // plain UDP would undo the TLS
	}
	order := []gortsplib.Transport{gortsplib.TransportTCP, gortsplib.TransportUDP}
	g.mu.Lock()
	first, ok := g.learned[u.Host]
	g.mu.Unlock()
	if !ok && g.opts.UDPFirst {
		first = gortsplib.TransportUDP
	}
	if (ok || g.opts.UDPFirst) && first == gortsplib.TransportUDP {
		order[0], order[1] = order[1], order[0]
	}
	return order
}

// learn remembers that a transport brought a frame, or that it did not.
func (g *Grabber) learn(u *base.URL, tr gortsplib.Transport, worked bool) {
	usual := gortsplib.TransportTCP
	if g.opts.UDPFirst {
		usual = gortsplib.TransportUDP
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case worked && tr != usual:
		g.remember(u.Host, tr)
	case !worked && tr == gortsplib.TransportUDP && g.opts.UDPFirst:
		g.remember(u.Host, gortsplib.TransportTCP) // nothing came by UDP: a filter on the way, most likely
	case g.learned[u.Host] == tr && !worked:
		delete(g.learned, u.Host)
	}
}

// setup asks for the media over the first transport that the camera takes.
func (s *stream) setup(ctx context.Context, at *base.URL, m *description.Media) (gortsplib.Transport, error) {
	var first error
	order := s.g.transports(s.url)
	if s.tcpOnly {
		order = []gortsplib.Transport{gortsplib.TransportTCP}
	}
	for _, tr := range order {
		s.client.Transport = &tr
		rtpPort, rtcpPort := 0, 0
		if tr == gortsplib.TransportUDP {
			var err error
			if rtpPort, rtcpPort, err = s.openUDP(); err != nil {
				// No port, or not permitted (EPERM): that is our side, and TCP may do.
				first = errors.Join(first, err)
				continue
			}
		}
		err := s.ask(ctx, func() error {
			_, err := s.client.Setup(at, m, rtpPort, rtcpPort)
			return err
		})
		for _, c := range s.ready {
			_ = c.Close() // not taken by the library, so not closed by it either
		}
		s.ready = nil
		if err == nil {
			return tr, nil
		}
		first = cmp.Or(first, err)
		s.tcpRefused = s.tcpRefused || tr == gortsplib.TransportTCP
		var no liberrors.ErrClientServerRequestedTCP
		if s.answer().status != base.StatusUnsupportedTransport && !errors.As(err, &no) {
			return tr, err
		}
	}
	return 0, first
}

// openUDP opens an even port and the odd one above it, on the address that the
// connection has and nowhere else.
func (s *stream) openUDP() (rtpPort, rtcpPort int, err error) {
	s.mu.Lock()
	local, ok := s.conn.LocalAddr().(*net.TCPAddr)
	s.mu.Unlock()
	if !ok {
		return 0, 0, fleet.Errorf(fleet.CauseInternal, "a connection of a kind that UDP cannot stand beside")
	}
	for range 64 { // a random port is even in half of the cases, and the next mostly free
		a, err := s.g.listenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
		if err != nil {
			return 0, 0, err
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			if b, err := s.g.listenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone, Port: port + 1}); err == nil {
				s.ready = []*net.UDPConn{a, b}
				return port, port + 1, nil
			}
		}
		_ = a.Close()
	}
	return 0, 0, fleet.Errorf(fleet.CauseInternal, "no two UDP ports in a row are free")
}

// listen hands out the UDP sockets that setup opened: the library would listen
// on every interface, and try ports for ever when there are none.
func (s *stream) listen(_, _ string) (net.PacketConn, error) {
	if len(s.ready) == 0 {
		return nil, fleet.Errorf(fleet.CauseInternal, "no UDP port is prepared")
	}
	c := s.ready[0]
	s.ready = s.ready[1:]
	return c, nil
}
