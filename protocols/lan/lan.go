// Package lan is the multicast half of the finders: sockets on every interface,
// as they come and go, with caps on size, rate and source.
//
//	interfaces ──scan──► Link (one per interface and family) ──Probe──► group
//	                       └──► Packet, if it may come from there ──► Heard
package lan

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
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
