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
	is := func(v bool) int {
		if v {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(is(a.Gone), is(b.Gone)),
		cmp.Compare(is(a.Hint), is(b.Hint)),
		slices.CompareFunc(a.Claims, b.Claims, compareClaims),
		slices.CompareFunc(a.Endpoints, b.Endpoints, compareEndpoints),
		strings.Compare(a.Name, b.Name), strings.Compare(a.Vendor, b.Vendor), strings.Compare(a.Model, b.Model),
	)
}

// claimRank orders kinds of evidence, strongest first.
var claimRank = map[fleet.ClaimKind]int{
	fleet.ClaimEPR: 0, fleet.ClaimUDN: 1, fleet.ClaimMAC: 2, fleet.ClaimSerial: 3, fleet.ClaimHost: 4, fleet.ClaimURL: 5,
}

func compareClaims(a, b fleet.Claim) int {
	return cmp.Or(cmp.Compare(claimRank[a.Kind], claimRank[b.Kind]), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Value, b.Value))
}

var protocolRank = map[fleet.Protocol]int{fleet.ONVIF: 0, fleet.Snapshot: 1, fleet.MJPEG: 2, fleet.RTSP: 3}

func compareEndpoints(a, b fleet.Endpoint) int {
	return cmp.Or(cmp.Compare(protocolRank[a.Protocol], protocolRank[b.Protocol]), strings.Compare(string(a.Protocol), string(b.Protocol)), strings.Compare(a.URL, b.URL))
}

// cluster is the observations of one device, in order.
type cluster []observation

// merge sorts observations into devices. It is a function of the set alone:
// the order in which things were heard does not matter. Evidence is applied
// from the strongest to the weakest,
//
//	description of the same answer · EPR, UDN · one mDNS answer ·
//	key from the centre · MAC · serial with model · address and port ·
//	address · host name
//
// and each step joins only what does not contradict: two endpoint references,
// two unique device names or two keys of the centre make two devices, however
// much else they share. A MAC, a serial or an address that contradicting
// devices share says nothing and joins nobody. A host name joins addresses of
// different families only, since cheap cameras all have the same one.
func merge(set map[obsID]observation) []cluster {
	all := fresh(set)
	here := make(map[obsID]bool, len(all))
	for _, o := range all {
		here[o.id()] = true
	}
	all = slices.DeleteFunc(all, func(o observation) bool { // a description stands and falls with what led to it
		return o.Via == viaDescribed && !here[o.of]
	})
	m := newMerger(all)
	at := make(map[obsID]int, len(all))
	for i, o := range all {
		at[o.id()] = i
	}
	for i, o := range all {
		if o.Via == viaDescribed {
			if j, ok := at[o.of]; ok {
				m.join(i, j)
			}
		}
	}
	m.level(true, func(o observation) (out []string) {
		for _, c := range o.Claims {
			if c.Kind == fleet.ClaimEPR || c.Kind == fleet.ClaimUDN {
				out = append(out, bare(c.Value))
			}
		}
		return out
	}, m.keysAgree)
	m.level(false, func(o observation) []string { // one mDNS answer with two addresses is one host with two
		if o.Via != fleet.ViaMDNS || o.primary() == "" {
			return nil
		}
		return []string{o.Interface + "\x00" + o.primary() + "\x00" + strconv.FormatInt(o.At.UnixNano(), 10)}
	}, m.agree)
	m.level(false, func(o observation) (out []string) {
		if o.key != "" {
			out = append(out, o.key)
		}
		for _, c := range o.Claims {
			if m.keys[text(c)] {
				out = append(out, text(c))
			}
		}
		return out
	}, func(a, b int) bool { return m.agree(a, b) && !m.apart(a, b) })
	m.level(false, func(o observation) (out []string) {
		for _, c := range o.Claims {
			if c.Kind == fleet.ClaimMAC {
				out = append(out, c.Value)
			}
		}
		return out
	}, m.agree)
	m.level(false, func(o observation) (out []string) {
		for _, c := range o.Claims {
			if c.Kind == fleet.ClaimSerial && o.Model != "" {
				out = append(out, strings.ToLower(o.Model+"\x00"+c.Value))
			}
		}
		return out
	}, m.agree)
	m.level(false, func(o observation) (out []string) {
		for _, e := range o.Endpoints {
			if host, port, ok := hostPort(e.URL); ok && host == o.Source {
				out = append(out, netip.AddrPortFrom(host, port).String())
			}
		}
		return out
	}, m.agree)
	m.level(false, func(o observation) []string {
		if o.Source.IsValid() {
			return []string{o.Source.String()}
		}
		return nil
	}, m.agree)
	m.level(false, func(o observation) (out []string) {
		for _, c := range o.Claims {
			if c.Kind == fleet.ClaimHost {
				out = append(out, c.Value)
			}
		}
		return out
	}, func(a, b int) bool { return m.agree(a, b) && !m.apart(a, b) })
	return m.clusters()
}

// fresh returns the observations in order, without the addresses that their
// devices left.
func fresh(set map[obsID]observation) []observation {
	type same struct {
		via     fleet.Via
		ifname  string
		four    bool
		primary string
	}
	of := func(o observation) same { return same{o.Via, o.Interface, o.Source.Is4(), o.primary()} }
	newest := map[same]time.Time{}
	for _, o := range set {
		if k := of(o); o.At.After(newest[k]) {
			newest[k] = o.At
		}
	}
	out := make([]observation, 0, len(set))
	for _, o := range set {
		if o.primary() != "" && newest[of(o)].Sub(o.At) > staleAfter {
			continue
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b observation) int { return compareIDs(a.id(), b.id()) })
	return out
}

// bare returns the UUID of an endpoint reference or unique device name, so
// that the one can be found in the other; other names stay as they are.
func bare(name string) string {
	low := strings.ToLower(name)
	return strings.TrimPrefix(strings.TrimPrefix(low, "urn:"), "uuid:")
}

// merger is a disjoint-set forest with what each set must not be joined over.
type merger struct {
	all    []observation
	parent []int
	facts  []facts         // of the roots
	keys   map[string]bool // all keys the centre has told
}

// facts are what may contradict.
type facts struct{ epr, udn, key, v4 map[string]bool }

func newMerger(all []observation) *merger {
	m := &merger{all: all, parent: make([]int, len(all)), facts: make([]facts, len(all)), keys: map[string]bool{}}
	for i, o := range all {
		m.parent[i] = i
		f := &m.facts[i]
		for _, c := range o.Claims {
			switch c.Kind {
			case fleet.ClaimEPR:
				put(&f.epr, c.Value)
			case fleet.ClaimUDN:
				put(&f.udn, c.Value)
			}
		}
		if o.key != "" {
			put(&f.key, o.key)
			m.keys[o.key] = true
		}
		if o.Source.Is4() {
			put(&f.v4, o.Source.String())
		}
	}
	return m
}

func put(set *map[string]bool, v string) {
	if *set == nil {
		*set = map[string]bool{}
	}
	(*set)[v] = true
}

func (m *merger) root(i int) int {
	for m.parent[i] != i {
		m.parent[i] = m.parent[m.parent[i]]
		i = m.parent[i]
	}
	return i
}

// join makes one set of two; the lower number stays the root.
func (m *merger) join(i, j int) {
	i, j = m.root(i), m.root(j)
	if i == j {
		return
	}
	if j < i {
		i, j = j, i
	}
	m.parent[j] = i
	a, b := &m.facts[i], &m.facts[j]
	for _, p := range []struct {
		to   *map[string]bool
		from map[string]bool
	}{{&a.epr, b.epr}, {&a.udn, b.udn}, {&a.key, b.key}, {&a.v4, b.v4}} {
		for v := range p.from {
			put(p.to, v)
		}
	}
}

func disjoint(a, b map[string]bool) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	for v := range a {
		if b[v] {
			return false
		}
	}
	return true
}

func (m *merger) keysAgree(a, b int) bool { return !disjoint(m.facts[a].key, m.facts[b].key) }

func (m *merger) agree(a, b int) bool {
	return m.keysAgree(a, b) && !disjoint(m.facts[a].epr, m.facts[b].epr) && !disjoint(m.facts[a].udn, m.facts[b].udn)
}

func (m *merger) apart(a, b int) bool { return disjoint(m.facts[a].v4, m.facts[b].v4) }

// level joins the sets whose observations share a value. If any two of them
// disagree, the value joins nobody; with greedy set, it still joins each to
// the first that it agrees with.
func (m *merger) level(greedy bool, values func(observation) []string, agree func(a, b int) bool) {
	groups := map[string][]int{}
	for i, o := range m.all {
		for _, v := range values(o) {
			groups[v] = append(groups[v], i)
		}
	}
	order := make([]string, 0, len(groups))
	for v, g := range groups {
		if len(g) > 1 {
			order = append(order, v)
		}
	}
	slices.Sort(order)
	for _, v := range order {
		var roots []int
		for _, i := range groups[v] {
			roots = append(roots, m.root(i))
		}
		slices.Sort(roots)
		roots = slices.Compact(roots)
		if greedy {
			for n, r := range roots {
				for _, q := range roots[:n] {
					if a, b := m.root(q), m.root(r); a != b && agree(a, b) {
						m.join(a, b)
						break
					}
				}
			}
			continue
		}
		ok := true
		for n, r := range roots {
			for _, q := range roots[:n] {
				ok = ok && agree(q, r)
			}
		}
		if ok {
			for _, r := range roots {
				m.join(roots[0], r)
			}
		}
	}
}

func (m *merger) clusters() []cluster {
	var out []cluster
	place := map[int]int{}
	for i, o := range m.all {
		r := m.root(i)
		n, ok := place[r]
		if !ok {
			n = len(out)
			place[r] = n
			out = append(out, nil)
		}
		out[n] = append(out[n], o)
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
