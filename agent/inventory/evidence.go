package inventory

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Kinds of evidence beside those of claims.
const (
	kindAnswer    = "answer"    // one datagram, or the description that it led to
	kindKey       = "key"       // the centre's name for the device
	kindDecision  = "decision"  // an operator's word
	kindPort      = "port"      // the same address and port
	kindAddress   = "address"   // the same address at the same time
	kindAddresses = "addresses" // against: different IPv4 addresses at the same time
	kindHardware  = "hardware"  // against: different MACs or serials at the same time
	kindRenamed   = "renamed"   // against: another endpoint reference or unique device name, later
)

// joinAt is the score from which two records are one device.
const joinAt = 100

// weights say what a shared value adds to the score of two records, and
// penalties what a contradiction takes away. A name that a protocol defines as
// unique (WS-Addressing 1.0 section 2.1, UPnP Device Architecture 1.1 section
// 1.1.4) outweighs a second address, but not other hardware: firmware that
// clones endpoint references exists. A serial or a TLS key needs a second
// witness, since batches of cheap cameras share them. A host name is worth an
// address, and loses to two IPv4 addresses at once.
var weights = map[string]int{
	kindAnswer: 300, kindDecision: 300, kindKey: 200,
	string(fleet.ClaimEPR): 160, string(fleet.ClaimMAC): 100, kindPort: 100, kindAddress: 100, string(fleet.ClaimHost): 100,
	string(fleet.ClaimSerial): 70, string(fleet.ClaimTLSKey): 60, string(fleet.ClaimScene): 20,
}

const (
	penaltyAddresses = -60
	penaltyHardware  = -100
	penaltyRenamed   = -60
)

// value is one comparable thing that an observation says. The endpoint
// reference and the unique device name are one kind: each may hold the other's
// UUID.
type value struct{ kind, text string }

// valuesOf calls f with all that o can be compared by; model and serial count
// together.
func (m *merger) valuesOf(o *observation, f func(value)) {
	for _, c := range o.Claims {
		switch c.Kind {
		case fleet.ClaimEPR, fleet.ClaimUDN:
			f(value{string(fleet.ClaimEPR), fleet.BareUUID(c.Value)})
		case fleet.ClaimMAC, fleet.ClaimHost, fleet.ClaimTLSKey, fleet.ClaimScene:
			f(value{string(c.Kind), c.Value})
		case fleet.ClaimSerial:
			if o.Model != "" {
				f(value{string(c.Kind), strings.ToLower(o.Model + " " + c.Value)})
			}
		}
		if len(m.keys) > 0 {
			if t := text(c); m.keys[t] {
				f(value{kindKey, t})
			}
		}
	}
	if o.key != "" {
		f(value{kindKey, o.key})
	}
	if o.near != "" {
		f(value{string(fleet.ClaimMAC), o.near})
		if t := string(fleet.ClaimMAC) + ":" + o.near; m.keys[t] {
			f(value{kindKey, t})
		}
	}
	if !m.weak {
		return
	}
	for _, e := range o.Endpoints {
		if host, port, ok := hostPort(e.URL); ok && host == o.Source {
			f(value{kindPort, netip.AddrPortFrom(host, port).String()})
		}
	}
	if o.Source.IsValid() {
		f(value{kindAddress, o.Source.String()})
	}
	if m.placed(o) {
		for _, a := range o.was {
			f(value{kindAddress, a.String()})
		}
	}
}

// while is a value and the time for which it was seen, in Unix nanoseconds.
type while struct {
	text     string
	from, to int64
}

// together says whether two values were seen at the same time: not at all;
// maybe, each within staleAfter of the other; or surely, each again after the
// other had come.
type together int8

const (
	apartInTime together = iota
	maybe
	surely
)

func meet(a, b while) together {
	later, earlier := max(a.from, b.from), min(a.to, b.to)
	switch {
	case a.from == math.MinInt64 || b.from == math.MinInt64:
		return maybe // a memory proves nothing
	case later <= earlier:
		if later == earlier && a.from == a.to && b.from == b.to {
			return maybe // one moment proves nothing
		}
		return surely
	case later-earlier <= int64(staleAfter):
		return maybe
	}
	return apartInTime
}

// facts are what may contradict, of one set of observations.
type facts struct {
	epr, udn, mac, v4 []while
	near, proof       []while  // MACs of the neighbour table, and those that a device of the centre is known to have
	serial            []while  // of descriptions, with the model: other protocols spell it as they like
	keys              []string // of the centre
	not               []string // names that are another's, as decided
	names             []string // what a decision may call it; only kept while there are decisions
	heard             bool     // by somebody else than the centre
}

func add(to []while, w while) []while {
	for i := range to {
		if to[i].text == w.text {
			to[i].from, to[i].to = min(to[i].from, w.from), max(to[i].to, w.to)
			return to
		}
	}
	return append(to, w)
}

func (f *facts) merge(g *facts) {
	f.heard = f.heard || g.heard
	for _, p := range []struct {
		to   *[]while
		from []while
	}{{&f.epr, g.epr}, {&f.udn, g.udn}, {&f.mac, g.mac}, {&f.v4, g.v4}, {&f.serial, g.serial}, {&f.near, g.near}, {&f.proof, g.proof}} {
		for _, w := range p.from {
			*p.to = add(*p.to, w)
		}
	}
	for _, p := range []struct {
		to   *[]string
		from []string
	}{{&f.keys, g.keys}, {&f.not, g.not}, {&f.names, g.names}} {
		for _, k := range p.from {
			if !slices.Contains(*p.to, k) {
				*p.to = append(*p.to, k)
			}
		}
	}
}

// rivals says whether two sets of names that ought to be unique hold different
// ones at the same time; renamed, whether they hold different ones at all.
func rivals(a, b []while) (t together, renamed bool) {
	for _, v := range a {
		for _, w := range b {
			if v.text != w.text {
				renamed = true
				t = max(t, meet(v, w))
			}
		}
	}
	return t, renamed
}

// disjoint says whether two sets that may hold many values share none, and
// were there at the same time.
func disjoint(a, b []while) (t together) {
	for _, v := range a {
		for _, w := range b {
			if v.text == w.text {
				return apartInTime
			}
			t = max(t, meet(v, w))
		}
	}
	return t
}

// forbidden says whether a and b cannot be one device whatever else they
// share: two endpoint references or unique device names at the same time, two
// keys of the centre, or an operator's word. Of the latter two nothing is
// learned about values, so they come as maybe.
func forbidden(a, b *facts) together {
	epr, _ := rivals(a.epr, b.epr)
	udn, _ := rivals(a.udn, b.udn)
	t := max(epr, udn)
	if t == apartInTime && (len(a.keys) > 0 && len(b.keys) > 0 && !slices.ContainsFunc(a.keys, func(k string) bool { return slices.Contains(b.keys, k) }) ||
		decided(a, b) || decided(b, a)) {
		t = maybe
	}
	return t
}

func decided(a, b *facts) bool {
	return len(a.not) > 0 && slices.ContainsFunc(a.not, func(n string) bool { return slices.Contains(b.names, n) })
}

// strangers says whether a and b are different hardware at the same time: they
// have MACs or described serials, and share none; or one is a device of the
// centre, and the neighbour table has another MAC for the other than that is
// known to have. What such a one claims to be counts for nothing then: anybody
// can claim it.
func strangers(a, b *facts) together {
	if alien(a, b) || alien(b, a) {
		return maybe // of a memory: it proves nothing about values
	}
	if shared(a.mac, b.mac) || shared(a.serial, b.serial) {
		return apartInTime
	}
	return max(disjoint(a.mac, b.mac), disjoint(a.serial, b.serial))
}

// alien reports whether b is on the link with none of the MACs that a has.
func alien(a, b *facts) bool {
	return len(a.proof) > 0 && len(b.near) > 0 && !shared(a.proof, b.near)
}

func shared(a, b []while) bool {
	return slices.ContainsFunc(a, func(v while) bool { return slices.ContainsFunc(b, func(w while) bool { return v.text == w.text }) })
}

// against returns what speaks against a and b being one, short of forbidding
// it.
func against(a, b *facts) (out []fleet.Evidence, sum int) {
	put := func(kind string, weight int) {
		out = append(out, fleet.Evidence{Kind: kind, Weight: weight})
		sum += weight
	}
	if strangers(a, b) > apartInTime {
		put(kindHardware, penaltyHardware)
	}
	if disjoint(a.v4, b.v4) > apartInTime {
		put(kindAddresses, penaltyAddresses)
	}
	_, epr := rivals(a.epr, b.epr)
	_, udn := rivals(a.udn, b.udn)
	if epr || udn {
		put(kindRenamed, penaltyRenamed)
	}
	return out, sum
}

// compareEvidence orders evidence by weight, heaviest first.
func compareEvidence(a, b fleet.Evidence) int {
	return cmp.Or(cmp.Compare(b.Weight, a.Weight), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Value, b.Value))
}
