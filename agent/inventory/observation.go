package inventory

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// staleAfter is how much older than its newest sighting an address of the same
// identity may be: probes go out to all at once, so an address that does not
// answer while another does is one that the device left. Together with the
// probes' 60 s it keeps an address change under two minutes without a Hello.
const staleAfter = 30 * time.Second

// observation is the latest of what was heard in one way, from one address,
// about one identity.
type observation struct {
	fleet.Sighting
	first time.Time // when it was first heard
	key   string    // set by the centre: the device's key
	of    obsID     // a description: the observation that led to it
	near  string    // the MAC that the neighbour table has for its source

	// What the centre told of a device: where it was, and what is decided.
	was         []netip.Addr
	same, apart []string
	proof       []string // the MACs that the device is known to have
}

// obsID is what makes a sighting the next one of the same observation.
type obsID struct {
	via     fleet.Via
	ifname  string
	source  netip.Addr
	primary string // the text of the sender's own name for itself
}

const (
	viaKnown     fleet.Via = "known"     // inside only: what the centre told
	viaDescribed fleet.Via = "described" // inside only: what the device itself told
)

func (o observation) id() obsID {
	return obsID{o.Via, o.Interface, o.Source, o.primary()}
}

// primary returns the name the sender goes by in its protocol.
func (o observation) primary() string {
	if o.key != "" {
		return o.key
	}
	for _, kind := range []fleet.ClaimKind{fleet.ClaimEPR, fleet.ClaimUDN, fleet.ClaimHost} {
		for _, c := range o.Claims {
			if c.Kind == kind {
				return text(c)
			}
		}
	}
	return ""
}

func text(c fleet.Claim) string { return string(c.Kind) + ":" + c.Value }

// compareIDs orders observations in a way that no order of arrival changes.
func compareIDs(a, b obsID) int {
	return cmp.Or(
		cmp.Compare(a.via, b.via), strings.Compare(a.ifname, b.ifname),
		a.source.Compare(b.source), strings.Compare(a.primary, b.primary),
	)
}

// remember puts s into obs, as a new observation or as the next of one. It
// reports whether anything but the time is new. The newest sighting counts,
// whatever order they come in.
func remember(obs map[obsID]observation, s observation) (news bool) {
	id := s.id()
	old, ok := obs[id]
	if !ok {
		if s.first.IsZero() {
			s.first = s.At
		}
		obs[id] = s
		return true
	}
	if s.first.IsZero() || old.first.Before(s.first) {
		s.first = old.first
	}
	if s.At.Before(s.first) {
		s.first = s.At
	}
	switch c := s.At.Compare(old.At); {
	case c < 0, c == 0 && compareContent(s.Sighting, old.Sighting) < 0:
		old.first = s.first
		obs[id] = old
		return false
	}
	obs[id] = s
	return compareContent(s.Sighting, old.Sighting) != 0
}

// compareContent orders sightings by all they say but the time.
func compareContent(a, b fleet.Sighting) int {
	return cmp.Or(
		less(a.Gone, b.Gone),
		slices.CompareFunc(a.Claims, b.Claims, compareClaims),
		slices.CompareFunc(a.Endpoints, b.Endpoints, compareEndpoints),
		strings.Compare(a.Name, b.Name), strings.Compare(a.Vendor, b.Vendor), strings.Compare(a.Model, b.Model),
		less(a.Hint, b.Hint),
	)
}

// claimRank orders kinds of evidence, strongest first.
var claimRank = map[fleet.ClaimKind]int{
	fleet.ClaimEPR: 0, fleet.ClaimUDN: 1, fleet.ClaimMAC: 2, fleet.ClaimSerial: 3, fleet.ClaimTLSKey: 4, fleet.ClaimHost: 5, fleet.ClaimURL: 6, fleet.ClaimScene: 7,
}

func compareClaims(a, b fleet.Claim) int {
	return cmp.Or(cmp.Compare(claimRank[a.Kind], claimRank[b.Kind]), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Value, b.Value))
}

var protocolRank = map[fleet.Protocol]int{fleet.ONVIF: 0, fleet.Snapshot: 1, fleet.MJPEG: 2, fleet.RTSP: 3}

func compareEndpoints(a, b fleet.Endpoint) int {
	return cmp.Or(cmp.Compare(protocolRank[a.Protocol], protocolRank[b.Protocol]), strings.Compare(string(a.Protocol), string(b.Protocol)), strings.Compare(a.URL, b.URL))
}

// fresh returns the observations in order, without the addresses that their
// devices left. A name that several live devices have says nothing about who
// left, unless their MACs tell them apart.
func fresh(set map[obsID]observation, junk map[value]bool) []observation {
	type same struct {
		via     fleet.Via
		ifname  string
		four    bool
		primary string
		near    string
	}
	shared := func(id obsID) bool { return len(junk) > 0 && id.primary != "" && junk[primaryValue(id.primary)] }
	of := func(id obsID, o observation) same {
		k := same{id.via, id.ifname, id.source.Is4(), id.primary, ""}
		if shared(id) {
			k.near = o.near
		}
		return k
	}
	newest := make(map[same]time.Time, len(set))
	for id, o := range set {
		if k := of(id, o); o.At.After(newest[k]) {
			newest[k] = o.At
		}
	}
	ids := make([]obsID, 0, len(set))
	for id, o := range set {
		if id.primary != "" && newest[of(id, o)].Sub(o.At) > staleAfter && (o.near != "" || !shared(id)) {
			continue
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	out := make([]observation, len(ids))
	for i, id := range ids {
		out[i] = set[id]
	}
	return out
}

// hostPort returns where a URL leads, if its host is an address.
func hostPort(raw string) (netip.Addr, uint16, bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return netip.Addr{}, 0, false
	}
	host, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return netip.Addr{}, 0, false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "rtsp": "554", "rtsps": "322"}[u.Scheme]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return host.Unmap(), uint16(n), err == nil
}

// primaryValue returns the value that a primary name is compared by.
func primaryValue(primary string) value {
	kind, name, _ := strings.Cut(primary, ":")
	switch fleet.ClaimKind(kind) {
	case fleet.ClaimEPR, fleet.ClaimUDN:
		return value{string(fleet.ClaimEPR), fleet.BareUUID(name)}
	}
	return value{kind, name}
}

// goesBy reports whether key is one of o's names.
func (o *observation) goesBy(key string) bool {
	return o.key == key || o.near != "" && key == string(fleet.ClaimMAC)+":"+o.near ||
		slices.ContainsFunc(o.Claims, func(c fleet.Claim) bool { return text(c) == key })
}
