package inventory

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Caps on what the LAN may make us remember.
const (
	maxDevices      = 4096
	maxEndpoints    = 64 // of one device
	maxClaims       = 32 // of one device
	maxAddresses    = 16 // of one device
	maxEvidence     = 16 // of one device
	maxRivals       = 4  // of one device
	maxRivalLines   = 8  // claims, addresses, pieces of evidence of a rival
	maxJunk         = 4096
	maxScenes       = 4096
	maxObservations = 16384 // in all
	maxPerSource    = 64    // observations that name one address as their sender
	maxExtra        = 8     // beyond the two, of one name that the centre knows
	maxTextBytes    = 256
)

// device puts together what a cluster says, but for key, state and sources.
func (c cluster) device() fleet.Device {
	var d fleet.Device
	heard := false
	for _, o := range c.obs {
		heard = heard || o.Via != viaKnown && len(o.Endpoints) > 0
	}
	type place struct {
		addr  netip.Addr
		first time.Time
		gone  bool
	}
	var places []place
	for _, o := range c.obs {
		switch o.Via {
		case viaKnown, viaDescribed:
		default:
			d.Via = append(d.Via, o.Via)
		}
		if o.Via == viaKnown && strings.HasPrefix(o.key, string(fleet.ClaimURL)+":") {
			d.Via = append(d.Via, fleet.ViaManual)
		}
		d.Claims = append(d.Claims, o.Claims...)
		if o.near != "" {
			d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: o.near})
		}
		if o.Source.IsValid() {
			if i := slices.IndexFunc(places, func(p place) bool { return p.addr == o.Source }); i < 0 {
				places = append(places, place{o.Source, o.first, o.Gone})
			} else {
				places[i].gone = places[i].gone && o.Gone
				if o.first.Before(places[i].first) {
					places[i].first = o.first
				}
			}
		}
		if o.At.After(d.LastSeen) {
			d.LastSeen = o.At
		}
	}
	// A newer address is the better guess while an old one has not yet expired.
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(less(b.gone, a.gone), less(a.addr.Is4(), b.addr.Is4()), b.first.Compare(a.first), a.addr.Compare(b.addr))
	})
	rank := map[netip.Addr]int{}
	for i, p := range places {
		rank[p.addr] = i
		if i < maxAddresses {
			d.Addresses = append(d.Addresses, p.addr)
		}
	}
	for _, o := range c.obs {
		// What the centre remembers of a heard device may be old by now.
		if o.Via == viaKnown && heard && !strings.HasPrefix(o.key, string(fleet.ClaimURL)+":") {
			continue
		}
		d.Endpoints = append(d.Endpoints, o.Endpoints...)
	}
	slices.SortFunc(d.Endpoints, func(a, b fleet.Endpoint) int {
		ra, rb := len(rank), len(rank)
		if h, _, ok := hostPort(a.URL); ok {
			if r, ok := rank[h]; ok {
				ra = r
			}
		}
		if h, _, ok := hostPort(b.URL); ok {
			if r, ok := rank[h]; ok {
				rb = r
			}
		}
		return cmp.Or(cmp.Compare(protocolRank[a.Protocol], protocolRank[b.Protocol]), cmp.Compare(ra, rb), compareEndpoints(a, b))
	})
	d.Endpoints = capped(slices.Compact(d.Endpoints), maxEndpoints)
	slices.SortFunc(d.Claims, compareClaims)
	d.Claims = capped(slices.Compact(d.Claims), maxClaims)
	d.Evidence = capped(c.evidence, maxEvidence)
	slices.Sort(d.Via)
	d.Via = slices.Compact(d.Via)

	// The device's own description knows best, then what its protocol carries.
	byTrust := slices.Clone(c.obs)
	trust := map[fleet.Via]int{viaDescribed: 0, fleet.ViaWSDiscovery: 1, fleet.ViaUPnP: 2, fleet.ViaMDNS: 3, fleet.ViaSweep: 1, viaKnown: 4}
	slices.SortStableFunc(byTrust, func(a, b observation) int {
		return cmp.Or(cmp.Compare(trust[a.Via], trust[b.Via]), b.first.Compare(a.first))
	})
	for _, o := range byTrust {
		d.Name = cmp.Or(d.Name, o.Name)
		d.Vendor = cmp.Or(d.Vendor, o.Vendor)
		d.Model = cmp.Or(d.Model, o.Model)
	}
	return d
}

// gone reports whether every way the device was heard has said goodbye.
func (c cluster) gone() bool {
	heard := false
	for _, o := range c.obs {
		if o.Via == viaKnown || o.Via == viaDescribed {
			continue
		}
		if !o.Gone {
			return false
		}
		heard = true
	}
	return heard
}

// keyFor returns the key that a new device gets: its strongest claim that no
// other device goes by, else its address. A device that bears another's name
// is doubtful: it may be that one, at a new address.
func keyFor(d fleet.Device, taken func(string) bool) (key string, doubtful bool) {
	for _, c := range d.Claims {
		switch {
		case c.Kind == fleet.ClaimSerial, c.Kind == fleet.ClaimTLSKey, c.Kind == fleet.ClaimScene: // they repeat across devices
		case slices.ContainsFunc(d.Evidence, func(e fleet.Evidence) bool { return e.Junk && value{e.Kind, e.Value} == primaryValue(text(c)) }):
			doubtful = doubtful || taken(text(c))
		case taken(text(c)):
			doubtful = true
		default:
			return text(c), doubtful
		}
	}
	for _, e := range d.Endpoints {
		if k := string(fleet.ClaimURL) + ":" + e.URL; !taken(k) {
			return k, doubtful
		}
	}
	for _, a := range d.Addresses {
		if k := string(fleet.ClaimHost) + ":" + a.String(); !taken(k) {
			return k, doubtful
		}
	}
	return "", doubtful
}

func capped[T any](s []T, n int) []T { return s[:min(len(s), n)] }

func less(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// clean returns s without what must not come from a LAN: junk claims that many
// devices share, texts of any length, and lists without end.
func clean(s fleet.Sighting) fleet.Sighting {
	s.Name, s.Vendor, s.Model = cleanText(s.Name), cleanText(s.Vendor), cleanText(s.Model)
	var claims []fleet.Claim
	for _, c := range s.Claims {
		if c, ok := cleanClaim(c); ok && len(claims) < maxClaims/2 {
			claims = append(claims, c)
		}
	}
	slices.SortFunc(claims, compareClaims)
	s.Claims = slices.Compact(claims)
	s.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(e fleet.Endpoint) bool { return e.URL == "" || len(e.URL) > 2048 })
	slices.SortFunc(s.Endpoints, compareEndpoints)
	s.Endpoints = capped(slices.Compact(s.Endpoints), maxEndpoints)
	return s
}

func cleanText(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "")
	}
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		// Of either kind, they make a page or a terminal show another text than the
		// one that is compared.
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s))
	for len(s) > maxTextBytes {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// placeholders are serial numbers that firmware ships with, seen on many
// devices at once.
var placeholders = map[string]bool{
	"unknown": true, "none": true, "n/a": true, "null": true, "default": true, "serial": true, "serialnumber": true, "123456": true,
	"12345678": true, "123456789": true, "1234567890": true, "system serial number": true, "to be filled by o.e.m.": true,
}

func cleanClaim(c fleet.Claim) (fleet.Claim, bool) {
	c.Value = cleanText(c.Value)
	low := strings.ToLower(c.Value)
	switch c.Kind {
	case fleet.ClaimMAC:
		c.Value = low
		if strings.Trim(low, "0:") == "" || strings.Trim(low, "f:") == "" || low == "00:11:22:33:44:55" || low == "00:12:34:56:78:9a" || low == "aa:bb:cc:dd:ee:ff" {
			return c, false
		}
	case fleet.ClaimSerial:
		if strings.Trim(low, "0-_. ") == "" || len(low) < 4 || placeholders[low] {
			return c, false
		}
	case fleet.ClaimHost:
		c.Value = low
		if low == "localhost" || low == "localhost.local" {
			return c, false
		}
	}
	_, known := claimRank[c.Kind]
	return c, known && c.Value != ""
}
