// Package mdns finds cameras by multicast DNS service discovery: it browses
// for the services that cameras announce, keeps what it hears as long as it
// lives, and joins the records of a host into one sighting.
//
//	query PTR _onvif _rtsp _axis-video _psia _http ──► 224.0.0.251, [ff02::fb]
//	  PTR ─► instance ─SRV─► host, port ─A/AAAA─► address
//	                  ─TXT─► path, macaddress        │
//	  all instances of one host ─────────────────────┴─► Sighting (host, address)
//
// Queries leave from ports of our own, which makes answers come straight to
// us, and from the shared port 5353, so that announcements and their lifetimes
// are heard as well. The browser is our own because one host often announces
// many services, and because answers and lifetimes must be checked.
package mdns

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
)

var (
	group4 = netip.MustParseAddrPort("224.0.0.251:5353")
	group6 = netip.MustParseAddrPort("[ff02::fb]:5353")
)

const (
	hops         = 255                     // RFC 6762, section 11
	askAgain     = 2 * time.Second         // between questions for the same missing record
	addressWait  = 1500 * time.Millisecond // for the address of a host, before its datagrams' source is taken
	maxQuestions = 64                      // in one follow-up query
	maxKnown     = 200                     // known answers in one query: about 6 kB
	maxEndpoints = 64                      // of one host
)

// Options configure a Finder.
type Options struct {
	// Interfaces lists where to search; it is asked again every two seconds.
	// Default: all that are up and multicast-capable, and loopback.
	Interfaces func() ([]net.Interface, error)
	Every      time.Duration // between queries once the first burst is over, ±10 %; default 60s
	Log        *slog.Logger  // default: none
}

// Finder finds services of cameras. It is a protocols.Finder.
type Finder struct{ opts Options }

// New returns a Finder. It opens nothing before Find.
func New(o Options) *Finder {
	o.Every = cmp.Or(o.Every, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Finder{opts: o}
}

// Find queries at once and until ctx is done. It calls heard, from one
// goroutine at a time, whenever something is heard of a host whose services
// are known, once for each address of the host; Gone is set when the last
// service of a host said goodbye, or was silent for its lifetime and two and a
// half repeats of the query. A host with nothing but a web page is told of
// without endpoints and with Hint set.
func (f *Finder) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	caches := map[*lan.Link]*cache{}
	of := func(l *lan.Link) *cache {
		c, ok := caches[l]
		if !ok {
			c = newCache(f.opts.Every * 5 / 2)
			caches[l] = c
		}
		return c
	}
	return lan.Run(ctx, lan.Options{
		Interfaces: f.opts.Interfaces,
		Every:      f.opts.Every,
		Log:        f.opts.Log.With("finder", "mdns"),
		Group4:     group4,
		Group6:     group6,
		Hops:       hops,
		MaxBytes:   maxMessageBytes,
		Probe: func(l *lan.Link, round int) {
			if b, err := browse(round == 0, nil); err == nil {
				l.Send(b)
			}
			if round == 0 {
				return
			}
			if b, err := browse(false, of(l).known(time.Now())); err == nil {
				l.Shout(b)
			}
		},
		Heard: func(p lan.Packet) {
			rs, err := Parse(p.Data)
			if err != nil {
				f.opts.Log.Debug("datagram ignored", "finder", "mdns", "interface", p.Link.Name, "from", p.From, "err", err)
				return
			}
			if len(rs) == 0 {
				return
			}
			c := of(p.Link)
			touched := c.add(rs, p.From, p.At)
			if b := c.followUp(touched, p.At); b != nil {
				p.Link.Send(b)
			}
			for _, s := range c.sightings(touched, p.Link, p.At) {
				heard(s)
			}
		},
		Tick: func(now time.Time) {
			for l, c := range caches {
				for _, s := range c.goodbyes(c.expire(now), l, now) {
					heard(s)
				}
				for _, s := range c.sightings(c.overdue(now), l, now) {
					heard(s)
				}
			}
		},
		Closed: func(l *lan.Link) { delete(caches, l) },
	})
}

// browse returns the query for all services. The first one asks for unicast
// answers (the top bit of the class: RFC 6762, section 5.4).
func browse(unicast bool, known []dns.RR) ([]byte, error) {
	m := dns.Msg{Compress: true, Answer: known}
	class := uint16(dns.ClassINET)
	if unicast {
		class |= 1 << 15
	}
	for _, s := range services {
		m.Question = append(m.Question, dns.Question{Name: string(s), Qtype: dns.TypePTR, Qclass: class})
	}
	return m.Pack()
}

// known returns the PTR records that responders need not repeat: those with
// more than half of their life left (RFC 6762, section 7.1).
func (c *cache) known(now time.Time) []dns.RR {
	var out []dns.RR
	for _, i := range c.instances {
		left := i.ptrTTL - now.Sub(i.ptrAt)
		if left <= i.ptrTTL/2 || len(out) == maxKnown {
			continue
		}
		out = append(out, &dns.PTR{
			Hdr: dns.RR_Header{Name: string(i.service), Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: uint32(left / time.Second)},
			Ptr: i.name,
		})
	}
	return out
}

// followUp returns a query for what is missing of the touched instances, or
// nil. Each is asked for once in askAgain.
func (c *cache) followUp(touched []string, now time.Time) []byte {
	m := dns.Msg{Compress: true}
	for _, name := range touched {
		i, ok := c.instances[name]
		if !ok || now.Sub(i.asked) < askAgain || len(m.Question) >= maxQuestions {
			continue
		}
		if qs := c.missing(i); len(qs) > 0 {
			i.asked = now
			if !slices.Contains(m.Question, qs[0]) { // channels of one host ask for one address
				m.Question = append(m.Question, qs...)
			}
		}
	}
	if len(m.Question) == 0 {
		return nil
	}
	b, err := m.Pack()
	if err != nil {
		return nil // a name from the LAN that cannot be sent back
	}
	return b
}

// sightings returns what is known of the hosts of the touched instances.
func (c *cache) sightings(touched []string, l *lan.Link, now time.Time) []fleet.Sighting {
	var hosts []string
	for _, name := range touched {
		if i, ok := c.instances[name]; ok && i.srv && !slices.Contains(hosts, i.host) {
			hosts = append(hosts, i.host)
		}
	}
	var out []fleet.Sighting
	for _, h := range hosts {
		on := c.on(h)
		if len(c.hosts[h]) == 0 && now.Sub(on[0].since) < addressWait {
			continue // overdue tells of it if no address comes
		}
		for _, i := range on {
			i.told = true
		}
		for _, a := range sources(c.addresses(h), on[0].from, l) {
			s := sight(h, on, a)
			s.Interface, s.At = l.Name, now
			out = append(out, s)
		}
	}
	return out
}

// overdue returns the instances whose host's address never came.
func (c *cache) overdue(now time.Time) (names []string) {
	for _, i := range c.instances {
		if i.srv && !i.told && now.Sub(i.since) >= addressWait {
			names = append(names, i.name)
		}
	}
	slices.Sort(names)
	return names
}

// goodbyes returns the sightings of hosts that have no service left.
func (c *cache) goodbyes(gone []*instance, l *lan.Link, now time.Time) []fleet.Sighting {
	var out []fleet.Sighting
	told := map[string]bool{}
	for _, i := range gone {
		if !i.srv || told[i.host] || len(c.on(i.host)) > 0 {
			continue
		}
		told[i.host] = true
		for _, a := range sources(c.addresses(i.host), i.from, l) {
			s := sight(i.host, []*instance{i}, a)
			s.Interface, s.At, s.Gone = l.Name, now, true
			out = append(out, s)
		}
	}
	return out
}

// on returns the complete instances on host, the most telling service first.
func (c *cache) on(host string) []*instance {
	var out []*instance
	for _, i := range c.byHost[host] {
		out = append(out, i)
	}
	rank := map[service]int{onvifService: 0, axisService: 1, rtspService: 2, psiaService: 3, httpService: 4}
	slices.SortFunc(out, func(a, b *instance) int {
		return cmp.Or(cmp.Compare(rank[a.service], rank[b.service]), strings.Compare(a.name, b.name))
	})
	return out
}

// sources returns the announced addresses that count: the sender's own, and
// neighbours on the link, because one responder may speak for others. A host
// that says it is elsewhere was brought here by a reflector, as routers between
// VLANs run them: it is not at the sender's address, and nothing is told of it.
// A host that says nothing usable is where its datagrams come from.
func sources(announced []netip.Addr, from netip.Addr, l *lan.Link) []netip.Addr {
	var out []netip.Addr
	elsewhere := false
	for _, a := range announced {
		if a.Is4() == l.V6 || a.Is4() != from.Is4() {
			continue
		}
		if a.Is6() && a.IsLinkLocalUnicast() {
			a = a.WithZone(l.Name)
		}
		switch {
		case a == from, l.Near(a) && l.Plausible(a) && (a.Is4() || !a.IsLinkLocalUnicast()):
			out = append(out, a)
		case a.Is4() && a.IsGlobalUnicast(), a.Is6() && a.IsLinkLocalUnicast():
			// A global IPv6 address says nothing: the sender may well have it.
			elsewhere = true
		}
	}
	if len(out) == 0 && !elsewhere {
		out = []netip.Addr{from}
	}
	return out
}

// sight joins the instances of one host, which must not be empty.
func sight(host string, on []*instance, a netip.Addr) fleet.Sighting {
	s := fleet.Sighting{
		Via:    fleet.ViaMDNS,
		Source: a,
		Name:   on[0].label,
		Claims: []fleet.Claim{{Kind: fleet.ClaimHost, Value: strings.TrimSuffix(host, ".")}},
	}
	for _, i := range on {
		txt := attributes(i.text)
		if i.service == axisService {
			s.Vendor = "Axis"
		}
		s.Vendor = cmp.Or(s.Vendor, txt["manufacturer"], txt["vendor"])
		s.Model = cmp.Or(s.Model, txt["model"], txt["md"])
		// A NAS lists all its cards in mac_address, a bar between them.
		for text := range strings.SplitSeq(cmp.Or(txt["macaddress"], txt["mac"], txt["mac_address"]), "|") {
			if mac, ok := lan.ParseMAC(text); ok {
				c := fleet.Claim{Kind: fleet.ClaimMAC, Value: mac}
				if !slices.Contains(s.Claims, c) && len(s.Claims) < 8 {
					s.Claims = append(s.Claims, c)
				}
			}
		}
		if serial := cmp.Or(txt["serial"], txt["serialnumber"]); serial != "" && len(s.Claims) < 8 {
			if c := (fleet.Claim{Kind: fleet.ClaimSerial, Value: serial}); !slices.Contains(s.Claims, c) {
				s.Claims = append(s.Claims, c)
			}
		}
		for _, e := range i.endpoints(a, txt["path"]) {
			if !slices.Contains(s.Endpoints, e) && len(s.Endpoints) < maxEndpoints {
				s.Endpoints = append(s.Endpoints, e)
			}
		}
	}
	s.Hint = len(s.Endpoints) == 0 // a web page is what printers and routers have too
	return s
}

// endpoints returns where the service is, at a.
func (i *instance) endpoints(a netip.Addr, path string) []fleet.Endpoint {
	at := func(p fleet.Protocol, scheme, path string) []fleet.Endpoint {
		return []fleet.Endpoint{{Protocol: p, URL: urlOf(scheme, a, i.port, path)}}
	}
	if i.port == 0 { // RFC 6763, section 6: the host says the service is not here
		return nil
	}
	switch i.service {
	case onvifService:
		return at(fleet.ONVIF, "http", cmp.Or(cleanPath(path), "/onvif/device_service"))
	case rtspService:
		return at(fleet.RTSP, "rtsp", cmp.Or(cleanPath(path), "/"))
	case axisService:
		// VAPIX: the still picture of the first source. ONVIF is at its usual place too.
		return append(at(fleet.ONVIF, "http", "/onvif/device_service"), at(fleet.Snapshot, "http", "/axis-cgi/jpg/image.cgi")...)
	case psiaService:
		// PSIA IPMD 1.1, section 8.10: the picture of the first channel.
		return at(fleet.Snapshot, "http", "/PSIA/Streaming/channels/1/picture")
	case httpService:
		path = cleanPath(path)
		switch low := strings.ToLower(path); {
		case strings.Contains(low, "mjpg"), strings.Contains(low, "mjpeg"):
			return at(fleet.MJPEG, "http", path)
		case strings.Contains(low, ".jpg"), strings.Contains(low, ".jpeg"), strings.Contains(low, "snapshot"):
			return at(fleet.Snapshot, "http", path)
		}
	}
	return nil
}

// cleanPath returns an announced path and query as they go into a URL, or
// nothing if they are no path.
func cleanPath(p string) string {
	if p == "" || len(p) > 512 {
		return ""
	}
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	u, err := url.Parse(p)
	if err != nil || u.Host != "" || u.Scheme != "" || strings.HasPrefix(p, "//") {
		return ""
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String()
}

func urlOf(scheme string, a netip.Addr, port uint16, path string) string {
	usual := map[string]uint16{"http": 80, "rtsp": 554}
	host := a.String()
	if a.Is6() {
		host = "[" + host + "]"
	}
	if port != usual[scheme] {
		host += ":" + strconv.Itoa(int(port))
	}
	return (&url.URL{Scheme: scheme, Host: host}).String() + path
}

// attributes reads TXT strings, key=value with keys in any case; the first of
// a key counts (RFC 6763, section 6.4).
func attributes(text []string) map[string]string {
	out := map[string]string{}
	for _, t := range text[:min(len(text), 64)] {
		k, v, ok := strings.Cut(t, "=")
		k = strings.ToLower(k)
		if _, dup := out[k]; !ok || dup || k == "" {
			continue
		}
		out[k] = label(strings.ReplaceAll(v, ".", `\.`))
	}
	return out
}
