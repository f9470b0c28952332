package lan

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Link is one interface in one address family.
//
//	senders  (address, ephemeral port) ──probe──► group    answers come back to them alone
//	listener (group, well-known port)  ◄────────  group    announcements, shared with other programs
//
// A unicast answer to a shared port reaches any one of the sockets there, so
// probes leave from ports that are ours.
type Link struct {
	Name     string
	index    int
	V6       bool
	loopback bool
	Prefixes []netip.Prefix
	Group    *net.UDPAddr
	senders  []net.PacketConn
	listener net.PacketConn
	log      *slog.Logger
	round    int
	next     time.Time
	deaf     bool // a send failed; said once
}

// Send multicasts b from the ephemeral ports.
func (l *Link) Send(b []byte) {
	for _, c := range l.senders {
		l.write(c, b)
	}
}

// Shout multicasts b from the well-known port, as continuous queriers must.
func (l *Link) Shout(b []byte) {
	if l.listener != nil {
		l.write(l.listener, b)
	}
}

func (l *Link) write(c net.PacketConn, b []byte) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // a full queue must not stall other links
	if _, err := c.WriteTo(b, l.Group); err != nil && !l.deaf && !errors.Is(err, net.ErrClosed) {
		l.deaf = true
		l.log.Debug("probe not sent", "interface", l.Name, "group", l.Group.String(), "err", err)
	}
}

// Plausible reports whether a datagram on this link may come from a. Only
// neighbours and private addresses may: a forged source must not make us
// connect to a public host or to our own loopback services.
func (l *Link) Plausible(a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	if a.IsLoopback() {
		return l.loopback
	}
	return a.IsPrivate() || a.IsLinkLocalUnicast() || l.Near(a)
}

// Near reports whether a lies in one of the link's own prefixes.
func (l *Link) Near(a netip.Addr) bool {
	a = a.WithZone("")
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (l *Link) close() {
	for _, c := range l.senders {
		_ = c.Close()
	}
	if l.listener != nil {
		_ = l.listener.Close()
	}
}

// openLink opens the sockets of one link. A listener that cannot be had (the
// port is held by a program that does not share it) costs only announcements;
// each scan tries again.
func openLink(ifi net.Interface, v6 bool, prefixes []netip.Prefix, o Options) (*Link, error) {
	group := o.Group4
	if v6 {
		group = o.Group6
	}
	l := &Link{
		Name: ifi.Name, index: ifi.Index, V6: v6, loopback: ifi.Flags&net.FlagLoopback != 0,
		Prefixes: prefixes, Group: net.UDPAddrFromAddrPort(group), log: o.Log,
	}
	if v6 {
		l.Group.Zone = zone(ifi)
	}
	var errs error
	for _, p := range prefixes {
		if v6 && !p.Addr().IsLinkLocalUnicast() || len(l.senders) == linkAddresses {
			continue
		}
		c, err := openSender(ifi, p.Addr(), o.Hops)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		l.senders = append(l.senders, c)
	}
	if len(l.senders) == 0 {
		return nil, fmt.Errorf("no socket to probe from: %w", errs)
	}
	if err := l.listen(ifi, o); err != nil {
		o.Log.Warn("announcements are not heard: another program holds the port", "interface", ifi.Name, "group", group.String(), "err", err)
	}
	return l, nil
}

// listen opens the listener, which l must not have yet.
func (l *Link) listen(ifi net.Interface, o Options) error {
	c, err := openListener(ifi, l.Group, l.V6, o.Hops)
	if err != nil {
		return err
	}
	l.listener = c
	return nil
}

// zone names ifi by its number: package net remembers what number a name has
// for a minute, and an interface may come back under its old name.
func zone(ifi net.Interface) string { return strconv.Itoa(ifi.Index) }

func openSender(ifi net.Interface, from netip.Addr, hops int) (net.PacketConn, error) {
	network := "udp4"
	if from.Is6() {
		network, from = "udp6", from.WithZone(zone(ifi))
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		return nil, err
	}
	if err := aim(c, ifi, from.Is6(), hops); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func openListener(ifi net.Interface, group *net.UDPAddr, v6 bool, hops int) (net.PacketConn, error) {
	c, err := listenShared(ifi, group, v6)
	if err != nil {
		return nil, err
	}
	join := func() error {
		if v6 {
			return ipv6.NewPacketConn(c).JoinGroup(&ifi, &net.UDPAddr{IP: group.IP})
		}
		return ipv4.NewPacketConn(c).JoinGroup(&ifi, &net.UDPAddr{IP: group.IP})
	}
	if err := errors.Join(join(), aim(c, ifi, v6, hops)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// aim makes multicast leave through ifi alone and be heard on this host too,
// where other programs may be cameras.
func aim(c net.PacketConn, ifi net.Interface, v6 bool, hops int) error {
	if v6 {
		p := ipv6.NewPacketConn(c)
		return errors.Join(p.SetMulticastInterface(&ifi), p.SetMulticastLoopback(true), p.SetMulticastHopLimit(hops))
	}
	p := ipv4.NewPacketConn(c)
	return errors.Join(p.SetMulticastInterface(&ifi), p.SetMulticastLoopback(true), p.SetMulticastTTL(hops))
}

// readLink hands on what c receives until c is closed.
func readLink(l *Link, c net.PacketConn, multicast bool, maxBytes int, out chan<- Packet, done <-chan struct{}) {
	buf := make([]byte, maxBytes+1)
	read := reader(l, c)
	for {
		n, from, here, err := read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// An ICMP error of an earlier send, or the interface going down:
			// the scan closes the socket if it is over.
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		a, ok := from.(*net.UDPAddr)
		if !ok || !here || n == 0 || n > maxBytes {
			continue
		}
		p := Packet{Data: slices.Clone(buf[:n]), From: a.AddrPort().Addr().Unmap(), Link: l, Multicast: multicast, At: time.Now()}
		select {
		case out <- p:
		case <-done:
			return
		default: // more than we can handle: discovery repeats
		}
	}
}

// reader returns a read that also says whether the datagram came through l's
// own interface: a shared port hears those of others on some systems.
func reader(l *Link, c net.PacketConn) func([]byte) (int, net.Addr, bool, error) {
	if l.V6 {
		p := ipv6.NewPacketConn(c)
		_ = p.SetControlMessage(ipv6.FlagInterface, true) // where it is unknown, all count as ours
		return func(b []byte) (int, net.Addr, bool, error) {
			n, cm, from, err := p.ReadFrom(b)
			return n, from, cm == nil || cm.IfIndex == 0 || cm.IfIndex == l.index, err
		}
	}
	p := ipv4.NewPacketConn(c)
	_ = p.SetControlMessage(ipv4.FlagInterface, true)
	return func(b []byte) (int, net.Addr, bool, error) {
		n, cm, from, err := p.ReadFrom(b)
		return n, from, cm == nil || cm.IfIndex == 0 || cm.IfIndex == l.index, err
	}
}
