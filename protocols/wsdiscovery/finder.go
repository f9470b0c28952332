// Package wsdiscovery finds ONVIF cameras by WS-Discovery: it probes every
// interface three ways, repeats, and listens for Hello and Bye.
//
//	each interface ──Probe (NVT, Device, any)──► 239.255.255.250:3702, [ff02::c]:3702
//	               ◄─ProbeMatches (to our port)─┐
//	               ◄─Hello, Bye (multicast)─────┴─► Parse ─► checked Sighting
//
// One probe kind is not enough: there is firmware that answers only one of
// them. Everything heard is hostile until shown otherwise; Parse is bounded and
// an address in a message counts only if it is the sender's own.
package wsdiscovery

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
)

var (
	group4 = netip.MustParseAddrPort("239.255.255.250:3702")
	group6 = netip.MustParseAddrPort("[ff02::c]:3702")
)

// hops is the TTL of SOAP over UDP 1.1, appendix I: discovery stays on the link.
const hops = 1

// Options configure a Finder.
type Options struct {
	// Interfaces lists where to search; it is asked again every two seconds.
	// Default: all that are up and multicast-capable, and loopback.
	Interfaces func() ([]net.Interface, error)
	Every      time.Duration // between probes once the first burst is over, ±10 %; default 60s
	Log        *slog.Logger  // default: none
}

// Finder finds ONVIF devices. It is a protocols.Finder.
type Finder struct{ opts Options }

// New returns a Finder. It opens nothing before Find.
func New(o Options) *Finder {
	o.Every = cmp.Or(o.Every, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Finder{opts: o}
}

// Find probes at once and until ctx is done, and calls heard for every answer,
// from one goroutine at a time. Devices that do not show themselves to be ONVIF
// cameras are told of without endpoints and with Hint set, those that leave
// with Gone.
func (f *Finder) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	return lan.Run(ctx, lan.Options{
		Interfaces: f.opts.Interfaces,
		Every:      f.opts.Every,
		Log:        f.opts.Log.With("finder", "wsdiscovery"),
		Group4:     group4,
		Group6:     group6,
		Hops:       hops,
		MaxBytes:   maxMessageBytes,
		Probe: func(l *lan.Link, _ int) {
			for _, k := range probeKinds {
				l.Send(k.message(uuid.NewString()))
			}
		},
		Heard: func(p lan.Packet) {
			m, err := Parse(p.Data)
			if err != nil {
				f.opts.Log.Debug("datagram ignored", "finder", "wsdiscovery", "interface", p.Link.Name, "from", p.From, "err", err)
				return
			}
			for _, s := range sightings(m, p.From, p.Link.Name, p.At) {
				heard(s)
			}
		},
	})
}

// probeKind is one of the three questions.
type probeKind struct{ declare, types string }

var probeKinds = []probeKind{
	{`xmlns:dn="http://www.onvif.org/ver10/network/wsdl"`, "dn:NetworkVideoTransmitter"},
	{`xmlns:tds="http://www.onvif.org/ver10/device/wsdl"`, "tds:Device"},
	{"", ""}, // all devices; camera sorts out the printers
}

// message returns the probe with its own message id, as ONVIF Core section 7.3
// profiles it: the 2005 namespaces, which every camera takes.
func (k probeKind) message(id string) []byte {
	types := ""
	if k.types != "" {
		types = "<d:Types " + k.declare + ">" + k.types + "</d:Types>"
	}
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+
		`<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery">`+
		`<e:Header><w:MessageID>urn:uuid:%s</w:MessageID><w:To e:mustUnderstand="true">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>`+
		`<w:Action e:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>`+
		`<e:Body><d:Probe>%s</d:Probe></e:Body></e:Envelope>`, id, types)
}

// sightings turns a message into what it shows, checked against its sender.
// Probes of others show nothing; devices that are no cameras are hints.
func sightings(m Message, from netip.Addr, ifname string, at time.Time) []fleet.Sighting {
	if m.Kind != KindHello && m.Kind != KindBye && m.Kind != KindMatches && m.Kind != KindResolve {
		return nil
	}
	var out []fleet.Sighting
	for _, d := range m.Matches {
		s := fleet.Sighting{Via: fleet.ViaWSDiscovery, Source: from, Interface: ifname, At: at, Gone: m.Kind == KindBye}
		if epr := canonicalEPR(d.EPR); epr != "" {
			s.Claims = append(s.Claims, fleet.Claim{Kind: fleet.ClaimEPR, Value: epr})
		}
		if s.Gone {
			if len(s.Claims) > 0 { // a Bye names its device by nothing else
				out = append(out, s)
			}
			continue
		}
		s.Hint = !d.camera()
		if mac, ok := lan.ParseMAC(d.scope("mac")); ok {
			s.Claims = append(s.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: mac})
		}
		if serial := cmp.Or(d.scope("serial"), d.scope("serialnumber")); serial != "" {
			s.Claims = append(s.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: serial})
		}
		s.Name = d.scope("name")
		s.Model = d.scope("hardware")
		s.Vendor = cmp.Or(d.scope("manufacturer"), d.scope("vendor"))
		if s.Hint && len(s.Claims) == 0 {
			continue // a thing without a name is evidence of nothing
		}
		if !s.Hint {
			for _, u := range addresses(d.XAddrs, from) {
				s.Endpoints = append(s.Endpoints, fleet.Endpoint{Protocol: fleet.ONVIF, URL: u})
			}
		}
		out = append(out, s)
	}
	return out
}

// canonicalEPR spells an endpoint reference one way: cameras write the same
// UUID with and without "urn:", in both cases, and in braces.
func canonicalEPR(epr string) string {
	low := strings.ToLower(strings.TrimSpace(epr))
	bare := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(low, "urn:"), "uuid:"), "{}")
	if id, err := uuid.Parse(bare); err == nil && len(bare) == 36 {
		if id == uuid.Nil || id == uuid.Max {
			return ""
		}
		return "urn:uuid:" + id.String()
	}
	if strings.HasPrefix(low, "urn:uuid:") || strings.HasPrefix(low, "uuid:") {
		return "urn:uuid:" + bare
	}
	return epr
}

// maxAddresses bounds what one match adds: http and https, rarely more.
const maxAddresses = 8

// servicePath is where an ONVIF device service is unless XAddrs says otherwise.
const servicePath = "/onvif/device_service"

// addresses returns the device service addresses that lead to from. Addresses
// with another host are stale, of a network behind NAT, or hostile: if none
// leads to the sender, the first keeps its scheme, port and path and gets the
// sender's host. Without any usable one the usual place remains.
func addresses(xaddrs []string, from netip.Addr) []string {
	var own, other []string
	for _, x := range xaddrs {
		u, err := url.Parse(x)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" {
			continue
		}
		if port := u.Port(); port != "" {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				continue
			}
		}
		host, err := netip.ParseAddr(u.Hostname())
		mine := err == nil && host.Unmap().WithZone("") == from.WithZone("")
		u.User, u.Fragment, u.RawFragment = nil, "", ""
		u.Host = withHost(from, u.Port())
		if mine {
			own = append(own, u.String())
		} else {
			other = append(other, u.String())
		}
	}
	switch {
	case len(own) > 0:
	case len(other) > 0:
		own = other[:1]
	default:
		own = []string{(&url.URL{Scheme: "http", Host: withHost(from, ""), Path: servicePath}).String()}
	}
	slices.Sort(own)
	own = slices.Compact(own)
	return own[:min(len(own), maxAddresses)]
}

// withHost returns addr as the host part of a URL; url.URL escapes the zone.
func withHost(a netip.Addr, port string) string {
	h := a.String()
	if a.Is6() {
		h = "[" + h + "]"
	}
	if port != "" {
		h += ":" + port
	}
	return h
}
