package inventory

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// cluster is the observations of one device, in order.
type cluster struct {
	obs      []observation
	evidence []fleet.Evidence // why they are one, and what of theirs is junk; heaviest first
}

// verdictOn is two clusters that share a value that ought to be unique, and why
// they are two all the same.
type verdictOn struct {
	a, b     int // of merged.clusters
	evidence []fleet.Evidence
}

// merged is what a merge comes to.
type merged struct {
	clusters  []cluster
	conflicts []verdictOn
	junk      []value // seen on two live devices, each again after the other
}

// maxBearers is how many sets may share a value before it says nothing without
// looking at each pair of them.
const maxBearers = 64

// fewBearers is how many sets may share a value for each pair of them to be
// weighed. Beyond it what joins by itself is weighed along a line, and what
// needs a second witness says nothing.
const fewBearers = 16

// merge sorts observations into devices. It is a function of the set and of
// the junk that was learned before: the order in which things were heard does
// not matter. Records that share values are joined when their weights reach
// joinAt against what contradicts (weights, penalties), in three rounds so that
// each sees what the one before has joined,
//
//	description and datagram, decisions · unique names · key from the centre · all the rest
//
// and never when forbidden says so. A value that two devices have at the same
// time joins nobody. If it is a unique name, they are in conflict, unless an
// operator has decided.
func merge(set map[obsID]observation, junk map[value]bool) merged {
	m := newMerger(fresh(set, junk), junk)
	m.given()
	m.round(func(k string) bool { return k == string(fleet.ClaimEPR) })
	m.round(func(k string) bool { return k == kindKey })
	m.weak = true
	m.round(func(k string) bool { return k != string(fleet.ClaimEPR) && k != kindKey })
	return m.result()
}

// merger is a disjoint-set forest with what each set must not be joined over.
type merger struct {
	all    []observation
	parent []int
	facts  []facts            // of the roots
	why    [][]fleet.Evidence // of the roots: what joined them
	keys   map[string]bool    // all keys the centre has told
	junk   map[value]bool     // learned before
	vain   map[value]bool     // contradicting sets have it
	proven map[value]bool     // they are alive at the same time
	rivals []rivalry
	weak   bool // the last round
}

func newMerger(all []observation, junk map[value]bool) *merger {
	at := map[obsID]int{} // only of those that descriptions came from
	for _, o := range all {
		if o.Via == viaDescribed {
			at[o.of] = -1
		}
	}
	if len(at) > 0 {
		// A description stands and falls with what led to it.
		here := make(map[obsID]bool, len(at))
		for i := range all {
			if id := all[i].id(); at[id] == -1 {
				here[id] = true
			}
		}
		all = slices.DeleteFunc(all, func(o observation) bool { return o.Via == viaDescribed && !here[o.of] })
		for i := range all {
			if id := all[i].id(); here[id] {
				at[id] = i
			}
		}
	}
	m := &merger{
		all: all, parent: make([]int, len(all)), facts: make([]facts, len(all)), why: make([][]fleet.Evidence, len(all)),
		keys: map[string]bool{}, junk: junk, vain: map[value]bool{}, proven: map[value]bool{},
	}
	decisions := false
	for _, o := range all {
		if o.key != "" {
			m.keys[o.key] = true
			decisions = decisions || len(o.same)+len(o.apart) > 0
		}
	}
	for i := range all {
		m.parent[i] = i
		m.facts[i] = m.factsOf(i, at, decisions)
	}
	for i, o := range all {
		if o.Via == viaDescribed {
			m.join(i, at[o.of], fleet.Evidence{Kind: kindAnswer, Value: string(viaDescribed), Weight: weights[kindAnswer]})
		}
	}
	return m
}

func (m *merger) factsOf(i int, at map[obsID]int, decisions bool) (f facts) {
	o := &m.all[i]
	heard := o
	if o.Via == viaDescribed { // it was alive while its answers were heard
		heard = &m.all[at[o.of]]
	}
	from, to := heard.first.UnixNano(), heard.At.UnixNano()
	f.heard = o.Via != viaKnown
	if o.Via == viaKnown {
		from, to = math.MinInt64, math.MaxInt64
	}
	add := func(list *[]while, v value, t string) {
		if !m.junk[v] {
			*list = append(*list, while{t, from, to})
		}
	}
	for _, c := range o.Claims {
		v := value{string(c.Kind), c.Value}
		switch c.Kind {
		case fleet.ClaimEPR:
			f.epr = append(f.epr, while{c.Value, from, to})
		case fleet.ClaimUDN:
			f.udn = append(f.udn, while{c.Value, from, to})
		case fleet.ClaimMAC:
			add(&f.mac, v, c.Value)
		case fleet.ClaimSerial:
			if (o.Via == viaDescribed || o.Via == viaKnown) && o.Model != "" {
				t := strings.ToLower(o.Model + " " + c.Value)
				add(&f.serial, value{v.kind, t}, t)
			}
		}
		if decisions {
			f.names = append(f.names, text(c))
		}
	}
	if o.near != "" {
		add(&f.mac, value{string(fleet.ClaimMAC), o.near}, o.near)
		f.near = []while{{o.near, from, to}}
	}
	for _, mac := range o.proof {
		f.proof = append(f.proof, while{mac, from, to})
	}
	if o.key != "" {
		f.keys, f.not = []string{o.key}, o.apart
	}
	if o.Source.Is4() {
		f.v4 = []while{{o.Source.String(), from, to}}
	}
	if decisions {
		f.names = append(f.names, o.names()...)
	}
	return f
}

// names returns what a decision may call o by, beside its claims.
func (o *observation) names() (out []string) {
	if o.key != "" {
		out = append(out, o.key)
	}
	if o.near != "" {
		out = append(out, string(fleet.ClaimMAC)+":"+o.near)
	}
	if o.Source.IsValid() {
		out = append(out, string(fleet.ClaimHost)+":"+o.Source.String())
	}
	for _, e := range o.Endpoints {
		out = append(out, string(fleet.ClaimURL)+":"+e.URL)
	}
	return out
}

func (m *merger) root(i int) int {
	for m.parent[i] != i {
		m.parent[i] = m.parent[m.parent[i]]
		i = m.parent[i]
	}
	return i
}

// join makes one set of two; the lower number stays the root.
func (m *merger) join(i, j int, why ...fleet.Evidence) {
	i, j = m.root(i), m.root(j)
	if i == j {
		return
	}
	if j < i {
		i, j = j, i
	}
	m.parent[j] = i
	m.why[i] = append(m.why[i], m.why[j]...)
	if a, b := &m.facts[i], &m.facts[j]; a.heard && b.heard { // what the centre repeats is no news
		m.why[i] = append(m.why[i], why...)
	}
	m.facts[i].merge(&m.facts[j])
	m.facts[j], m.why[j] = facts{}, nil
}

// given joins what needs no weighing: one mDNS answer with two addresses is one
// host with two, and what an operator decided to be one is.
func (m *merger) given() {
	answers := map[string]int{}
	for i := range m.all {
		o := &m.all[i]
		if p := o.primary(); o.Via == fleet.ViaMDNS && p != "" {
			k := o.Interface + "\x00" + p + "\x00" + strconv.FormatInt(o.At.UnixNano(), 10)
			j, ok := answers[k]
			if !ok {
				answers[k] = i
			} else if forbidden(&m.facts[m.root(i)], &m.facts[m.root(j)]) == apartInTime {
				m.join(j, i, fleet.Evidence{Kind: kindAnswer, Value: strings.TrimPrefix(p, string(fleet.ClaimHost)+":"), Weight: weights[kindAnswer]})
			}
		}
	}
	for i := range m.all {
		o := &m.all[i]
		if len(o.same) == 0 {
			continue
		}
		for _, name := range append([]string{o.key}, o.same...) {
			for j := range m.all {
				a, b := &m.facts[m.root(i)], &m.facts[m.root(j)]
				if slices.Contains(b.names, name) && !decided(a, b) && !decided(b, a) {
					m.join(i, j, fleet.Evidence{Kind: kindDecision, Value: name, Weight: weights[kindDecision]})
				}
			}
		}
	}
}

// pair is two sets and what they share.
type pair struct {
	a, b  int
	score int
	why   []fleet.Evidence
}

// round weighs the values of some kinds and joins what reaches joinAt.
func (m *merger) round(kinds func(string) bool) {
	groups := map[value][]int{}
	for i := range m.all {
		m.valuesOf(&m.all[i], func(v value) {
			if kinds(v.kind) {
				groups[v] = append(groups[v], i)
			}
		})
	}
	pairs := map[[2]int]*pair{}
	var roots []int
	for v, g := range groups {
		if len(g) < 2 {
			continue
		}
		roots = roots[:0]
		for _, i := range g {
			roots = append(roots, m.root(i))
		}
		slices.Sort(roots)
		if roots = slices.Compact(roots); len(roots) < 2 || m.contested(v, roots) {
			continue
		}
		for n, b := range roots {
			for k, a := range roots[:n] {
				if len(roots) > fewBearers && (weights[v.kind] < joinAt || k > 0 && k < n-1) {
					continue
				}
				p := pairs[[2]int{a, b}]
				if p == nil {
					p = &pair{a: a, b: b}
					pairs[[2]int{a, b}] = p
				}
				p.score += weights[v.kind]
				p.why = append(p.why, fleet.Evidence{Kind: v.kind, Value: v.text, Weight: weights[v.kind]})
			}
		}
	}
	order := make([]*pair, 0, len(pairs))
	for _, p := range pairs {
		if p.score >= joinAt {
			slices.SortFunc(p.why, compareEvidence)
			order = append(order, p)
		}
	}
	slices.SortFunc(order, func(x, y *pair) int {
		return cmp.Or(cmp.Compare(y.score, x.score), compareEvidence(x.why[0], y.why[0]), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	for _, p := range order {
		a, b := &m.facts[m.root(p.a)], &m.facts[m.root(p.b)]
		if a == b || forbidden(a, b) > apartInTime {
			continue
		}
		if no, sum := against(a, b); p.score+sum >= joinAt {
			m.join(p.a, p.b, append(p.why, no...)...)
		}
	}
}

// contested reports whether sets that are not one device share v, which then
// joins nobody.
func (m *merger) contested(v value, roots []int) bool {
	vain, proven, doubtful := m.junk[v] || len(roots) > maxBearers, len(roots) > maxBearers, 0
	unique := v.kind == string(fleet.ClaimEPR) || v.kind == kindKey // each pair of its bearers may be a conflict
	var claims []rivalry
	if len(roots) > maxBearers {
		roots = nil
	}
pairs:
	for n, b := range roots {
		for _, a := range roots[:n] {
			x, y := &m.facts[a], &m.facts[b]
			if unique {
				known, other := len(x.keys)+len(y.keys) > 0, strangers(x, y) > apartInTime
				if other && known || v.kind != kindKey && (known || other) {
					claims = append(claims, rivalry{a, b, v})
				}
			}
			t := m.two(v.kind, x, y)
			if t == apartInTime {
				continue
			}
			vain, proven = true, proven || t == surely
			if doubtful++; !unique && (proven || doubtful == maxBearers) {
				break pairs
			}
		}
	}
	if vain {
		m.vain[v] = true
		m.rivals = append(m.rivals, claims...)
	}
	if proven && v.kind != kindAddress && v.kind != kindPort && v.kind != kindKey {
		m.proven[v] = true
	}
	return vain
}

// two says whether a and b, which share a value of a kind, are two devices.
func (m *merger) two(kind string, a, b *facts) together {
	t := forbidden(a, b)
	switch kind {
	case kindAddress, kindPort:
		return t
	case string(fleet.ClaimEPR):
		return max(t, strangers(a, b))
	case kindKey:
		return max(t, strangers(a, b), disjoint(a.v4, b.v4))
	}
	return max(t, disjoint(a.v4, b.v4))
}

// placed says whether the place where the centre knows o to be counts: only where
// its name does not, since others say they are it.
func (m *merger) placed(o *observation) bool {
	return m.weak && len(o.was) > 0 && (m.vain[value{kindKey, o.key}] || m.vain[primaryValue(o.key)])
}

func (m *merger) result() (out merged) {
	place := make([]int, len(m.all))
	for i := range m.all {
		if r := m.root(i); r == i {
			place[i] = len(out.clusters)
			out.clusters = append(out.clusters, cluster{evidence: m.why[i]})
		}
	}
	for i, o := range m.all {
		c := &out.clusters[place[m.root(i)]]
		c.obs = append(c.obs, o)
		if len(m.vain) == 0 {
			continue
		}
		m.valuesOf(&m.all[i], func(v value) {
			if m.vain[v] && v.kind != kindKey {
				c.evidence = append(c.evidence, fleet.Evidence{Kind: v.kind, Value: v.text, Junk: true})
			}
		})
	}
	for i := range out.clusters {
		e := out.clusters[i].evidence
		slices.SortFunc(e, compareEvidence)
		out.clusters[i].evidence = slices.Compact(e)
	}
	for v := range m.proven {
		out.junk = append(out.junk, v)
	}
	slices.SortFunc(out.junk, func(a, b value) int { return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.text, b.text)) })
	out.conflicts = m.conflicts(place)
	return out
}
