// Package lan is the multicast half of the finders: sockets on every interface,
// as they come and go, with caps on size, rate and source.
//
//	interfaces ──scan──► Link (one per interface and family) ──Probe──► group
//	                       └──► Packet, if it may come from there ──► Heard
package lan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	scanEvery      = 2 * time.Second // an interface that comes or goes is noticed within this
	linkAddresses  = 4               // addresses of one interface and family that probes are sent from
	maxLinks       = 256             // interfaces times families; a host with more containers probes the first ones
	packetsPending = 256             // datagrams read and not yet handled; more are dropped, discovery repeats anyway
	sourcePackets  = 100             // datagrams per second from one source
	totalPackets   = 2000            // datagrams per second from all of them
	sourceBytes    = 512 << 10       // likewise in bytes: parsing costs by the byte
	totalBytes     = 4 << 20
)

// burst holds the first repeats of a probe after a link opens. UDP loses
// datagrams, most of all right after a link came up (RFC 6762, section 5.2,
// asks for at least one second between the first two queries).
var burst = [BurstRounds]time.Duration{0, time.Second, 3 * time.Second}

// BurstRounds is how many rounds of probes follow each other quickly.
const BurstRounds = 3

// Options say what a finder sends and what it does with answers. All
// functions are called from one goroutine at a time.
type Options struct {
	Interfaces func() ([]net.Interface, error)
	Every      time.Duration
	Log        *slog.Logger
	Group4     netip.AddrPort
	Group6     netip.AddrPort
	Hops       int
	MaxBytes   int
	Probe      func(l *Link, round int) // Send the datagrams of one round on l
	Heard      func(p Packet)
	Tick       func(now time.Time) // once a second; may be nil
	Closed     func(l *Link)       // an interface went away; may be nil
}

// Packet is one datagram that passed the caps on size, rate and source.
type Packet struct {
	Data      []byte
	From      netip.Addr
	Link      *Link
	Multicast bool // heard on the group's port, not as an answer to our own
	At        time.Time
}

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

// usable returns the interfaces worth a probe: up and multicast-capable, and
// loopback whatever its flags say.
func usable() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return slices.DeleteFunc(all, func(i net.Interface) bool {
		return i.Flags&net.FlagUp == 0 || i.Flags&(net.FlagMulticast|net.FlagLoopback) == 0
	}), nil
}

// Loopback returns the loopback interfaces alone: where virtual cameras live.
func Loopback() ([]net.Interface, error) {
	all, err := net.Interfaces()
	return slices.DeleteFunc(all, func(i net.Interface) bool {
		return i.Flags&net.FlagLoopback == 0 || i.Flags&net.FlagUp == 0
	}), err
}

// linkKey tells links apart; an interface whose addresses change gets new ones.
type linkKey struct {
	index     int
	v6        bool
	addresses string
}

// Run keeps a link open per interface and family until ctx is done.
func Run(ctx context.Context, o Options) error {
	if o.Interfaces == nil {
		o.Interfaces = usable
	}
	o.Every = cmp.Or(o.Every, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var (
		links   = map[linkKey]*Link{}
		packets = make(chan Packet, packetsPending)
		rate    = newRate()
		readers sync.WaitGroup
		blind   bool
	)
	done := make(chan struct{}) // frees readers that hold a Packet at the end
	defer func() {
		close(done)
		for _, l := range links {
			l.close()
		}
		readers.Wait()
	}()
	read := func(l *Link, c net.PacketConn, multicast bool) {
		readers.Go(func() { readLink(l, c, multicast, o.MaxBytes, packets, done) })
	}
	scan := func() {
		seen, err := o.Interfaces()
		if err != nil {
			if !blind {
				o.Log.Warn("interfaces not listed; cameras are not searched until they are", "err", err)
			}
			blind = true
			return
		}
		blind = false
		want := wanted(seen, o.Group6.IsValid())
		for k, l := range links {
			if _, ok := want[k]; !ok {
				delete(links, k)
				l.close()
				if o.Closed != nil {
					o.Closed(l)
				}
			}
		}
		for k, w := range want {
			if l, ok := links[k]; ok && l.listener == nil && l.listen(w.ifi, o) == nil {
				o.Log.Info("announcements are heard again", "interface", l.Name, "group", l.Group.String())
				read(l, l.listener, true)
			}
			if _, ok := links[k]; ok || len(links) >= maxLinks {
				continue
			}
			l, err := openLink(w.ifi, k.v6, w.prefixes, o)
			if err != nil {
				o.Log.Debug("interface not searched", "interface", w.ifi.Name, "err", err)
				continue
			}
			links[k] = l
			for _, c := range l.senders {
				read(l, c, false)
			}
			if l.listener != nil {
				read(l, l.listener, true)
			}
		}
	}
	scan()
	rescan := time.NewTicker(scanEvery)
	defer rescan.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		now := time.Now()
		wake := now.Add(time.Hour)
		for _, l := range links {
			if !now.Before(l.next) {
				o.Probe(l, l.round)
				l.next = now.Add(pause(l.round, o.Every, rand.Float64()))
				l.round++
			}
			if l.next.Before(wake) {
				wake = l.next
			}
		}
		due.Reset(time.Until(wake))
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
		case <-rescan.C:
			scan()
		case now := <-tick.C:
			rate.reset()
			if o.Tick != nil {
				o.Tick(now)
			}
		case p := <-packets:
			if rate.allow(p.From, len(p.Data), p.Link.loopback) && p.Link.Plausible(p.From) {
				o.Heard(p)
			}
		}
	}
}

// pause returns how long after round the next one follows: the burst first,
// then every ±10 %, so that many agents on one LAN do not probe in step.
func pause(round int, every time.Duration, chance float64) time.Duration {
	if round+1 < len(burst) {
		step := burst[round+1] - burst[round]
		return min(every, step+time.Duration(chance*0.1*float64(step)))
	}
	return time.Duration(float64(every) * (0.9 + 0.2*chance))
}

type wantedLink struct {
	ifi      net.Interface
	prefixes []netip.Prefix
}

// wanted returns the links that the interfaces ask for. IPv6 on loopback is
// left out: nothing but ::1 lives there and there is no group route to it.
func wanted(seen []net.Interface, with6 bool) map[linkKey]wantedLink {
	out := map[linkKey]wantedLink{}
	for _, ifi := range seen {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // it went away between the two calls
		}
		var of4, of6 []netip.Prefix
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			switch {
			case err != nil:
			case p.Addr().Is4():
				of4 = append(of4, p)
			case p.Addr().Is6():
				of6 = append(of6, p)
			}
		}
		if len(of4) > 0 {
			out[linkKey{ifi.Index, false, fmt.Sprint(of4)}] = wantedLink{ifi, of4}
		}
		if with6 && ifi.Flags&net.FlagLoopback == 0 && slices.ContainsFunc(of6, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() }) {
			out[linkKey{ifi.Index, true, fmt.Sprint(of6)}] = wantedLink{ifi, of6}
		}
	}
	return out
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

// rate caps datagrams and bytes per source and in all, counted anew each second.
type rate struct {
	total  load
	source map[netip.Addr]load
}

type load struct{ packets, bytes int }

func (l load) over(packets, bytes int) bool { return l.packets > packets || l.bytes > bytes }

func newRate() *rate { return &rate{source: map[netip.Addr]load{}} }

func (r *rate) reset() {
	r.total = load{}
	clear(r.source)
}

// allow counts one datagram of n bytes from a. On loopback one address speaks
// for all programs of this host, so only the total counts.
func (r *rate) allow(a netip.Addr, n int, loopback bool) bool {
	own := r.source[a]
	own.packets++
	own.bytes += n
	if !loopback && own.over(sourcePackets, sourceBytes) {
		return false // and costs the others nothing
	}
	r.total.packets++
	r.total.bytes += n
	if r.total.over(totalPackets, totalBytes) {
		return false
	}
	r.source[a] = own
	return true
}
