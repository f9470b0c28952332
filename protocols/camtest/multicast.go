package camtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxDatagram is the largest question that is read.
const maxDatagram = 9000

// responder answers one kind of discovery for all cameras of the town that
// take part in it. All its sockets are bound to loopback addresses or to a
// group joined on the loopback interface, and its multicast has a TTL of 0:
// the kernel gives it to this machine alone (ip(7), IP_MULTICAST_TTL).
//
//	group on lo ──question──► answers ──► unicast, from each camera's own address
//	camera's address ───────►   ▲
//	                          announce ─► group, likewise
type responder struct {
	name     string
	group    *net.UDPAddr
	from     uint16 // the port answers leave from; 0 is any
	unicast  bool   // questions come to that port of a camera too, not only to the group
	ifi      net.Interface
	cameras  []*camera
	answers  func(c *camera, question []byte, from netip.AddrPort) []reply
	announce func(c *camera, gone bool) [][]byte

	mu      sync.Mutex // guards senders
	senders map[netip.Addr]net.PacketConn
	ended   bool
	readers sync.WaitGroup // of senders, where those are asked too

	listener net.PacketConn

	answering sync.Mutex // held while a question is answered
	parted    bool       // goodbyes are out, or going out
}

// reply is one datagram; to is where the question came from, or the group.
type reply struct {
	data  []byte
	group bool
}

// responders opens what the cameras' ways of discovery need.
func (t *Town) responders() ([]*responder, error) {
	all := []*responder{
		wsResponder(),
		mdnsResponder(),
		ssdpResponder(),
	}
	vias := []fleet.Via{fleet.ViaWSDiscovery, fleet.ViaMDNS, fleet.ViaUPnP}
	var out []*responder
	for i, r := range all {
		for _, c := range t.cameras {
			for _, v := range c.Via {
				if v == vias[i] {
					r.cameras = append(r.cameras, c)
				}
			}
		}
		if len(r.cameras) == 0 {
			continue
		}
		r.ifi, r.senders = t.ifi, map[netip.Addr]net.PacketConn{}
		if err := r.open(); err != nil {
			for _, o := range out {
				o.close()
			}
			return nil, fmt.Errorf("answer %s: %w", r.name, err)
		}
		out = append(out, r)
	}
	for _, c := range t.cameras {
		c.mu.Lock()
		c.told = func(c *camera, gone bool) {
			for _, r := range out {
				r.tell(c, gone)
			}
		}
		c.mu.Unlock()
	}
	return out, nil
}

func (r *responder) open() error {
	l, err := listenGroup(r.ifi, r.group)
	if err != nil {
		return err
	}
	p := ipv4.NewPacketConn(l)
	if err := p.JoinGroup(&r.ifi, &net.UDPAddr{IP: r.group.IP}); err != nil {
		return errors.Join(fmt.Errorf("join %v on %s: %w", r.group.IP, r.ifi.Name, err), l.Close())
	}
	_ = p.SetControlMessage(ipv4.FlagInterface, true) // where it is unknown, the group's binding decides
	r.listener = l
	return nil
}

func (r *responder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	_ = r.listener.Close()
	for _, s := range r.senders {
		_ = s.Close()
	}
	clear(r.senders)
}

// sender returns the socket of a camera's address.
func (r *responder) sender(a netip.Addr) (net.PacketConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, net.ErrClosed
	}
	if s, ok := r.senders[a]; ok {
		return s, nil
	}
	s, err := listenAddress(netip.AddrPortFrom(a, r.from))
	if err != nil {
		s, err = listenAddress(netip.AddrPortFrom(a, 0))
	}
	if err != nil {
		return nil, err
	}
	p := ipv4.NewPacketConn(s)
	if err := errors.Join(p.SetMulticastInterface(&r.ifi), p.SetMulticastLoopback(true), p.SetMulticastTTL(0)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	r.senders[a] = s
	if r.unicast {
		r.readers.Go(func() { r.readOwn(a, s) })
	}
	return s, nil
}

// run announces, answers and, at the end, says goodbye.
func (r *responder) run(ctx context.Context) error {
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(done)
		r.read()
	})
	for _, c := range r.cameras {
		r.tell(c, false)
	}
	<-ctx.Done()
	// An answer after the goodbye would call the camera back to life.
	r.answering.Lock()
	r.parted = true
	for _, c := range r.cameras {
		r.tell(c, true)
	}
	r.answering.Unlock()
	r.close()
	reader.Wait()
	r.readers.Wait()
	return nil
}

// maxReadFailures in a row mean that the socket is dead: each answer that
// nobody took gives one, and questions come between them.
const maxReadFailures = 10_000

func (r *responder) read() {
	p := ipv4.NewPacketConn(r.listener)
	buf := make([]byte, maxDatagram)
	for failures := 0; ; {
		n, cm, from, err := p.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if failures++; failures > maxReadFailures {
				return
			}
			continue // an ICMP error of an answer; the socket lives
		}
		failures = 0
		a, ok := from.(*net.UDPAddr)
		if !ok || cm != nil && cm.IfIndex != 0 && cm.IfIndex != r.ifi.Index {
			continue
		}
		to := a.AddrPort()
		if !to.Addr().Unmap().IsLoopback() {
			continue // nobody on lo; an answer would leave
		}
		r.answer(buf[:n], a, netip.Addr{})
	}
}

// readOwn answers what is asked at one camera's own address.
func (r *responder) readOwn(own netip.Addr, s net.PacketConn) {
	buf := make([]byte, 2048) // questions are short
	for failures := 0; failures < maxReadFailures; {
		n, from, err := s.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		a, ok := from.(*net.UDPAddr)
		if err != nil || !ok {
			failures++
			continue
		}
		failures = 0
		if a.AddrPort().Addr().Unmap().IsLoopback() {
			r.answer(buf[:n], a, own)
		}
	}
}

// answer answers one question, to all cameras or to the one at an address,
// unless the goodbyes are out.
func (r *responder) answer(question []byte, from *net.UDPAddr, at netip.Addr) {
	r.answering.Lock()
	defer r.answering.Unlock()
	if r.parted {
		return
	}
	for _, c := range r.cameras {
		if at.IsValid() && c.info().Addr != at {
			continue
		}
		for _, m := range r.answers(c, question, from.AddrPort()) {
			dest := net.Addr(from)
			if m.group {
				dest = r.group
			}
			r.send(c, m.data, dest)
		}
	}
}

func (r *responder) tell(c *camera, gone bool) {
	for _, v := range r.cameras {
		if v != c {
			continue
		}
		for _, b := range r.announce(c, gone) {
			r.send(c, b, r.group)
		}
	}
}

func (r *responder) send(c *camera, b []byte, to net.Addr) {
	c.mu.Lock()
	from := c.addr
	c.mu.Unlock()
	s, err := r.sender(from)
	if err == nil {
		_ = s.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = s.WriteTo(b, to)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.log.Debug("discovery answer not sent", "responder", r.name, "to", to.String(), "err", err)
	}
}
