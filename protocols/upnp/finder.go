// Package upnp finds cameras by UPnP's simple service discovery: it searches
// every interface, listens to NOTIFY, fetches each device's description from
// the device itself, and tells which of them are cameras.
//
//	M-SEARCH ──► 239.255.255.250:1900, [ff02::c]
//	   answers, NOTIFY ──► Parse ──► one per device (UDN) ──GET LOCATION──► ParseDescription
//	                                                                         │ camera?
//	                                                              Sighting ◄─┘ else a hint
//
// LOCATION is fetched only from the host that sent it, with limits on size,
// time and number; printers, routers and media servers are no more than hints.
package upnp

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
)

var (
	group4 = netip.MustParseAddrPort("239.255.255.250:1900")
	group6 = netip.MustParseAddrPort("[ff02::c]:1900")
)

const (
	hops         = 2                // UPnP Device Architecture 2.0, section 1.3.2
	maxDevices   = 4096             // remembered at a time, cameras or not
	maxFetches   = 8                // descriptions fetched at a time
	maxPerSource = 64               // devices that one address may be
	sourceWidth  = 1                // descriptions fetched from one address at a time: the guard keeps one connection to each
	fetchTimeout = 3 * time.Second  // for one description
	fetchAgain   = time.Hour        // after a good one
	retryFetch   = 30 * time.Second // after a failed one, doubled up to fetchAgain
	forgetAfter  = 30 * time.Minute // for a device that does not say how long it lives
)

// Options configure a Finder.
type Options struct {
	// Interfaces lists where to search; it is asked again every two seconds.
	// Default: all that are up and multicast-capable, and loopback.
	Interfaces func() ([]net.Interface, error)
	Every      time.Duration // between searches once the first burst is over, ±10 %; default 60s
	Log        *slog.Logger  // default: none
}

// Finder finds UPnP devices and tells which are cameras. It is a protocols.Finder.
type Finder struct{ opts Options }

// New returns a Finder. It opens nothing before Find.
func New(o Options) *Finder {
	o.Every = cmp.Or(o.Every, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Finder{opts: o}
}

// place tells devices apart: one UDN at two addresses is fetched from both, so
// a forged answer cannot take the place of the true one.
type place struct {
	udn  string
	from netip.Addr
}

// device is what is known of one place.
type device struct {
	location string
	ifname   string
	fetched  time.Time // zero while no description came
	next     time.Time // when to fetch again
	wait     time.Duration
	busy     bool
	camera   bool
	about    Description
	expires  time.Time
}

// described is a fetch that ended.
type described struct {
	at  place
	doc Description
	err error
}

// Find searches at once and until ctx is done. It calls heard for each answer
// of a device that was described, from one goroutine at a time, with Hint set
// when the description shows no camera, and with Gone set when it leaves. Such
// a sighting has no endpoints: UPnP tells where a camera's web page is, not
// where its pictures are.
func (f *Finder) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	var (
		fetches sync.WaitGroup
		mu      sync.Mutex // guards known, own and heard: fetches end when they end
		known   = newDevices()
		slots   = make(chan struct{}, maxFetches)
		own     = map[netip.Addr]chan struct{}{} // the like for each address
	)
	g := guard.New(guard.Options{Log: f.opts.Log})
	defer g.Close()
	defer fetches.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := func(p place, location string) { // with mu held
		if own[p.from] == nil {
			if len(own) >= maxDevices {
				clear(own) // those under way keep theirs
			}
			own[p.from] = make(chan struct{}, sourceWidth)
		}
		turns := []chan struct{}{own[p.from], slots}
		fetches.Go(func() {
			for _, turn := range turns {
				select {
				case turn <- struct{}{}:
					defer func() { <-turn }()
				case <-ctx.Done():
					return
				}
			}
			d, err := describe(ctx, g, location)
			if ctx.Err() != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.opts.Log.Debug("description not read", "finder", "upnp", "from", p.from, "location", location, "err", err)
			}
			if s, ok := known.described(described{p, d, err}, time.Now()); ok {
				heard(s)
			}
		})
	}
	return lan.Run(ctx, lan.Options{
		Interfaces: f.opts.Interfaces,
		Every:      f.opts.Every,
		Log:        f.opts.Log.With("finder", "upnp"),
		Group4:     group4,
		Group6:     group6,
		Hops:       hops,
		MaxBytes:   maxMessageBytes,
		Probe: func(l *lan.Link, round int) {
			for _, b := range searches(l.Group, round) {
				l.Send(b)
			}
		},
		Heard: func(p lan.Packet) {
			m, err := Parse(p.Data)
			if err != nil {
				f.opts.Log.Debug("datagram ignored", "finder", "upnp", "interface", p.Link.Name, "from", p.From, "err", err)
				return
			}
			if m.UDN == "" {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			s, ok, fetch := known.message(m, p.From, p.Link.Name, p.At)
			if ok {
				heard(s)
			}
			if fetch != "" {
				start(place{m.UDN, p.From}, fetch)
			}
		},
		Tick: func(now time.Time) {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range known.expire(now) {
				heard(s)
			}
		},
	})
}

// searches returns the datagrams of one round: root devices first, and the
// camera type for devices that answer to their own type alone. MX is how long
// devices may spread their answers: short at first, to have a picture soon.
func searches(group *net.UDPAddr, round int) [][]byte {
	mx := "1"
	if round >= lan.BurstRounds {
		mx = "3"
	}
	host := (&net.UDPAddr{IP: group.IP, Port: group.Port}).String()
	var out [][]byte
	for _, st := range []string{"upnp:rootdevice", "urn:schemas-upnp-org:device:DigitalSecurityCamera:1", "ssdp:all"} {
		if st == "ssdp:all" && round != 1 {
			continue // every device answers it many times: once is enough for those that know nothing else
		}
		out = append(out, []byte("M-SEARCH * HTTP/1.1\r\nHOST: "+host+"\r\nMAN: \"ssdp:discover\"\r\nMX: "+mx+"\r\nST: "+st+"\r\nUSER-AGENT: Shutterfleet UPnP/1.1\r\n\r\n"))
	}
	return out
}

// devices is what has been heard. It is pure: time comes in.
type devices struct {
	at      map[place]*device
	sources map[netip.Addr]int
}

func newDevices() *devices {
	return &devices{at: map[place]*device{}, sources: map[netip.Addr]int{}}
}

// message takes one message. It returns a sighting if the device's description
// is known, and the location to fetch if its description is wanted now.
func (k *devices) message(m Message, from netip.Addr, ifname string, now time.Time) (s fleet.Sighting, ok bool, fetch string) {
	p := place{m.UDN, from}
	d := k.at[p]
	if m.Gone {
		if d == nil {
			return s, false, ""
		}
		k.forget(p)
		return d.sighting(p, now, true), !d.fetched.IsZero(), ""
	}
	location, valid := checkLocation(m.Location, from)
	if d == nil {
		if !valid || len(k.at) >= maxDevices || k.sources[from] >= maxPerSource {
			return s, false, ""
		}
		d = &device{wait: retryFetch}
		k.at[p] = d
		k.sources[from]++
	}
	d.ifname = ifname
	d.expires = now.Add(max(cmp.Or(m.MaxAge, forgetAfter), 5*time.Minute))
	if valid && location != d.location {
		d.location = location
		if d.fetched.IsZero() || now.Sub(d.fetched) >= retryFetch { // answers that take turns must not make us fetch each time
			d.next = now
		}
	}
	if !d.busy && !now.Before(d.next) {
		d.busy = true
		fetch = d.location
	}
	return d.sighting(p, now, false), !d.fetched.IsZero(), fetch
}

// described takes the end of a fetch.
func (k *devices) described(e described, now time.Time) (fleet.Sighting, bool) {
	d := k.at[e.at]
	if d == nil { // it left meanwhile
		return fleet.Sighting{}, false
	}
	d.busy = false
	if e.err != nil {
		d.next = now.Add(d.wait)
		d.wait = min(2*d.wait, fetchAgain)
		return fleet.Sighting{}, false
	}
	d.wait, d.fetched, d.next = retryFetch, now, now.Add(fetchAgain)
	d.about, d.camera = e.doc, e.doc.Camera()
	return d.sighting(e.at, now, false), true
}

func (k *devices) forget(p place) {
	delete(k.at, p)
	if k.sources[p.from]--; k.sources[p.from] <= 0 {
		delete(k.sources, p.from)
	}
}

// expire forgets devices that were silent for their lifetime.
func (k *devices) expire(now time.Time) (gone []fleet.Sighting) {
	for p, d := range k.at {
		if now.Before(d.expires) || d.busy {
			continue
		}
		k.forget(p)
		if !d.fetched.IsZero() {
			gone = append(gone, d.sighting(p, now, true))
		}
	}
	return gone
}

func (d *device) sighting(p place, now time.Time, gone bool) fleet.Sighting {
	s := fleet.Sighting{
		Via: fleet.ViaUPnP, Source: p.from, Interface: d.ifname, At: now, Gone: gone, Hint: !d.camera,
		Claims: []fleet.Claim{{Kind: fleet.ClaimUDN, Value: p.udn}},
		Name:   d.about.FriendlyName, Vendor: d.about.Manufacturer, Model: d.about.ModelName,
	}
	if d.about.SerialNumber != "" {
		s.Claims = append(s.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: d.about.SerialNumber})
	}
	if mac, ok := macOf(p.udn); ok {
		s.Claims = append(s.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: mac})
	}
	return s
}

// macOf returns the MAC that cameras write behind their device's kind:
// uuid:Upnp-BasicDevice-1_0-ACCC8E010203. The last digits of a plain UUID are
// left alone: only some of them are a MAC.
func macOf(udn string) (string, bool) {
	if !strings.HasPrefix(udn, "uuid:upnp") {
		return "", false
	}
	i := strings.LastIndexAny(udn, "-_")
	if i < 0 || len(udn)-i-1 != 12 {
		return "", false
	}
	return lan.ParseMAC(udn[i+1:])
}

// checkLocation returns the address of a description if it may be fetched:
// plain or secure HTTP, from the sender itself.
func checkLocation(location string, from netip.Addr) (string, bool) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.User != nil {
		return "", false
	}
	host, err := netip.ParseAddr(u.Hostname())
	if err != nil || host.Unmap().WithZone("") != from.WithZone("") {
		return "", false
	}
	port := u.Port()
	u.Fragment, u.RawFragment = "", ""
	u.Host = from.String()
	if from.Is6() {
		u.Host = "[" + u.Host + "]"
	}
	if port != "" {
		u.Host += ":" + port
	}
	return u.String(), true
}
