package inventory

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// record is one device over time.
type record struct {
	key      string
	seq      uint64 // older records win
	created  time.Time
	shown    bool // it was listed or asked: the key is fixed
	listing  bool // it was listed
	named    bool // the centre named the key: likewise
	doubtful bool // another device goes by its name
	cluster  cluster
	device   fleet.Device             // of the cluster
	unproven map[netip.Addr]time.Time // where it may be and nothing shows yet that it is, since when
	probed   map[netip.Addr]time.Time // when each of these was asked last
	busy     bool
	tried    bool // a description ended, in whatever way
	asked    string
	next     time.Time
	wait     time.Duration
	result   *fleet.Device // the last description that got anywhere
	state    fleet.DeviceState
	reason   string
	reviewed bool // looked at since it fell silent
	rivals   []rival
}

// rival is a device that contradicts another's evidence.
type rival struct {
	rec      *record
	evidence []fleet.Evidence
}

type task struct {
	rec    *record
	target fleet.Target
	bare   bool    // asked without a login, to see its hardware
	door   *record // who answers at the same address and has not let us in; nil for nobody
}

// book is the state of Run's loop. It is pure: time comes in.
type book struct {
	opts    Options
	obs     map[obsID]observation
	sources map[netip.Addr]int
	known   map[string][]fleet.Target // by device key
	site    []fleet.Credentials
	records []*record
	owner   map[obsID]*record
	seq     uint64
	running int
	probing int // of those, by probe

	junk   map[value]time.Time // seen on several live devices, when last
	memory map[string]hardware // of the centre's devices, by key
	scenes map[string]*scene   // by key
	loaded map[string]bool     // the memory of it was asked
	extra  map[string]int      // observations beyond the caps, by the centre's key
}

// lapse is how long an observation may pause before its next sighting begins
// a new one: three of the finders' probes, which come every 60 s.
const lapse = 3 * time.Minute

func newBook(o Options) *book {
	return &book{opts: o, obs: map[obsID]observation{}, sources: map[netip.Addr]int{}, owner: map[obsID]*record{},
		junk: map[value]time.Time{}, memory: map[string]hardware{}, scenes: map[string]*scene{}, extra: map[string]int{}, loaded: map[string]bool{}}
}

// hear takes one sighting and reports whether a merge is due.
func (b *book) hear(s fleet.Sighting) bool {
	o := observation{Sighting: clean(s)}
	id := o.id()
	old, ok := b.obs[id]
	if o.Gone {
		if !ok || old.Gone {
			return false // a goodbye from someone we never met
		}
		old.Gone, old.At = true, o.At
		b.obs[id] = old
		return true
	}
	if !ok {
		if (len(b.obs) >= maxObservations || b.sources[o.Source] >= maxPerSource) && !b.reserved(&o) {
			return false
		}
		b.sources[o.Source]++
	}
	if r := b.owner[id]; r != nil {
		r.reviewed = false
	}
	if ok && o.At.Sub(old.At) > lapse {
		old.first = o.At // it came back: what it was at once with before, it is not by that
		b.obs[id] = old
	}
	if ok {
		o.near = old.near
	}
	return remember(b.obs, o)
}

// reserved reports whether there is room for what goes by a name that the centre
// knows although a flood has filled the rest: a camera that moves then is still
// followed.
func (b *book) reserved(o *observation) bool {
	for _, c := range o.Claims {
		key := text(c)
		if _, ok := b.known[key]; ok && b.extra[key] < maxExtra {
			b.extra[key]++
			return true
		}
	}
	return false
}

// tell takes what the centre knows.
func (b *book) tell(known []fleet.Target, site []fleet.Credentials) {
	b.site = site
	b.known = map[string][]fleet.Target{}
	for _, t := range known {
		if t.Device == "" && len(t.Endpoints) > 0 {
			t.Device = string(fleet.ClaimURL) + ":" + t.Endpoints[0].URL
		}
		if t.Device != "" {
			b.known[t.Device] = append(b.known[t.Device], t)
		}
	}
	for id := range b.obs {
		if _, ok := b.known[id.primary]; id.via == viaKnown && !ok {
			delete(b.obs, id)
		}
	}
	for key, ts := range b.known {
		b.remembered(key)
		o := knownObservation(key, ts)
		for id := range b.obs {
			if id.via == viaKnown && id.primary == key && id != o.id() {
				delete(b.obs, id)
			}
		}
		o.recall(b.memory[key])
		b.obs[o.id()] = o
	}
	maps.DeleteFunc(b.loaded, func(key string, _ bool) bool { return b.known[key] == nil })
	for key := range b.memory {
		if _, ok := b.known[key]; !ok {
			delete(b.memory, key)
		}
	}
}

// knownObservation is what the centre's word on one device comes to. A URL
// typed by hand is evidence of an address; of a device that was found, only
// its key is, since its addresses may be old.
func knownObservation(key string, ts []fleet.Target) observation {
	o := observation{key: key}
	o.Via = viaKnown
	kind, value, _ := strings.Cut(key, ":")
	byHand := fleet.ClaimKind(kind) == fleet.ClaimURL
	if _, ok := claimRank[fleet.ClaimKind(kind)]; ok && value != "" {
		o.Claims = append(o.Claims, fleet.Claim{Kind: fleet.ClaimKind(kind), Value: value})
	}
	for _, t := range ts {
		o.same, o.apart = append(o.same, t.Same...), append(o.apart, t.Apart...)
		for _, e := range t.Endpoints {
			e.URL = withoutUser(e.URL)
			o.Endpoints = append(o.Endpoints, e)
			if host, _, ok := hostPort(e.URL); ok && !slices.Contains(o.was, host) && !byHand {
				o.was = append(o.was, host)
			}
			if byHand {
				o.Claims = append(o.Claims, fleet.Claim{Kind: fleet.ClaimURL, Value: e.URL})
				if host, _, ok := hostPort(e.URL); ok && !o.Source.IsValid() {
					o.Source = host
				}
			}
		}
	}
	source := o.Source
	o.Sighting = clean(o.Sighting)
	o.Source = source
	return o
}

// withoutUser drops credentials that someone wrote into a URL: endpoints never
// hold any.
func withoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	u.User = nil
	return u.String()
}

// forget drops what nobody has said for a day, or, where the room for others is
// used up, for some minutes.
func (b *book) forget(now time.Time) {
	crowded := len(b.obs) >= maxObservations*3/4
	if !crowded {
		clear(b.extra)
	}
	for id, o := range b.obs {
		after := forgetAfter
		if crowded || b.sources[id.source] >= maxPerSource {
			after = crowdedAfter
		}
		if id.via == viaKnown || now.Sub(o.At) < after {
			continue
		}
		delete(b.obs, id)
		if id.via != viaDescribed {
			if b.sources[id.source]--; b.sources[id.source] <= 0 {
				delete(b.sources, id.source)
			}
		}
	}
	for v, at := range b.junk {
		if now.Sub(at) >= forgetAfter {
			delete(b.junk, v)
		}
	}
	for key, s := range b.scenes {
		if now.Sub(s.at) >= forgetAfter {
			delete(b.scenes, key)
		}
	}
}

// merge builds the records anew from the observations. A record goes on with
// the cluster that holds what it was made of.
func (b *book) merge(now time.Time) {
	vain := make(map[value]bool, len(b.junk))
	for v := range b.junk {
		vain[v] = true
	}
	b.stayed()
	m := merge(b.obs, vain)
	clusters := m.clusters
	for _, v := range m.junk {
		if _, ok := b.junk[v]; ok || len(b.junk) < maxJunk {
			b.junk[v] = now
		}
	}
	type claimant struct {
		c   cluster
		rec *record
	}
	list := make([]claimant, len(clusters))
	taken := map[*record]bool{}
	byKey := map[string]*record{}
	for _, r := range b.records {
		byKey[r.key] = r
	}
	take := func(i int, r *record) {
		if r != nil && !taken[r] && list[i].rec == nil {
			taken[r] = true
			list[i].rec = r
		}
	}
	for i, c := range clusters {
		list[i].c = c
		for _, o := range c.obs {
			if o.key == "" {
				continue
			}
			r := byKey[o.key]
			if r == nil {
				r = b.record(o.key, now)
				byKey[o.key] = r
			}
			r.named = true
			take(i, r)
		}
	}
	for _, named := range []bool{true, false} { // first the cluster that goes by the record's key
		for _, i := range byAge(clusters) { // who was there first keeps the name
			c := clusters[i]
			if list[i].rec != nil {
				continue
			}
			var best *record
			for _, o := range c.obs {
				r := b.owner[o.id()]
				if r == nil || taken[r] || named && !o.goesBy(r.key) {
					continue
				}
				if best == nil || r.seq < best.seq {
					best = r
				}
			}
			take(i, best)
		}
	}
	b.owner = map[obsID]*record{}
	b.records = b.records[:0]
	for i := range list {
		c, r := list[i].c, list[i].rec
		if r == nil {
			r = b.record("", now)
		}
		r.cluster, r.device, r.rivals = c, c.device(), nil
		list[i].rec = r
		for _, o := range c.obs {
			b.owner[o.id()] = r
		}
		b.records = append(b.records, r)
	}
	for _, x := range m.conflicts {
		p, q := list[x.a].rec, list[x.b].rec
		p.rivals, q.rivals = append(p.rivals, rival{q, x.evidence}), append(q.rivals, rival{p, x.evidence})
	}
	b.likenesses(now)
	// The centre's come first: no flood of others may keep them from being
	// described and shown.
	slices.SortFunc(b.records, func(x, y *record) int { return cmp.Or(less(x.named, y.named), cmp.Compare(x.seq, y.seq)) })
	keys := map[string]bool{}
	for _, r := range b.records {
		if r.shown || r.named {
			keys[r.key] = true
		}
	}
	for _, r := range b.records {
		if !r.shown && !r.named {
			r.key, r.doubtful = keyFor(r.device, func(k string) bool { return keys[k] })
			keys[r.key] = true
		}
	}
	b.note()
	for _, r := range b.records {
		b.prove(r)
	}
}

// byAge returns the clusters' numbers, the one heard first before others.
func byAge(clusters []cluster) []int {
	out, first := make([]int, len(clusters)), make([]time.Time, len(clusters))
	for i, c := range clusters {
		out[i] = i
		for _, o := range c.obs {
			if o.Via != viaKnown && (first[i].IsZero() || o.first.Before(first[i])) {
				first[i] = o.first
			}
		}
	}
	slices.SortStableFunc(out, func(x, y int) int { return first[x].Compare(first[y]) })
	return out
}

// neighbours takes the kernel's table of who has which address. What is no
// longer in it, stays: the table forgets who is silent.
func (b *book) neighbours(table map[netip.Addr]net.HardwareAddr) (news bool) {
	for id, o := range b.obs {
		mac, ok := table[id.source]
		if !ok || id.via == viaKnown || id.via == viaDescribed {
			continue
		}
		c, ok := cleanClaim(fleet.Claim{Kind: fleet.ClaimMAC, Value: mac.String()})
		if ok && o.near != c.Value && len(mac) == 6 {
			o.near = c.Value
			b.obs[id] = o
			news = true
		}
	}
	return news
}

func (b *book) record(key string, now time.Time) *record {
	b.seq++
	return &record{key: key, seq: b.seq, created: now, wait: retryDescribe}
}
