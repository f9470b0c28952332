// Package inventory is what an agent knows of the devices on its LAN: it runs
// the finders, merges what they hear into devices, and has each described.
//
//	Finder ─┐                                            ┌─► Devices()
//	Finder ─┼─Sighting─► observations ─merge─► devices ──┤
//	Finder ─┘   centre: SetKnown ─┘                ▲     └─► Changed()
//	                                   Describe ───┘ 8 at a time, with backoff
//
// A device keeps the key it got first, also when stronger evidence comes
// later: the centre has it on record under that key. Keys that the centre
// names through SetKnown come before all others, so a restart changes none.
package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

const (
	// gather is how long sightings are collected before they are merged, and
	// settle how old a device is before it is described and gets its key: the
	// ways of discovery answer within this of each other on one link, so a
	// device is mostly known by its strongest name from the beginning. The two
	// together are the price of the first picture.
	gather = 50 * time.Millisecond
	settle = 250 * time.Millisecond

	// doubt is how long a device with another's name waits to be shown: by then
	// that one has answered again at its old address, or lost it.
	doubt = 75*time.Second + staleAfter

	describeWidth   = 8
	describeTimeout = 15 * time.Second // for one device, all its endpoints
	describeFirst   = 4 * time.Second  // a device is not shown before its first description, or this
	retryDescribe   = 5 * time.Second  // after a failure, doubled each time
	retryLongest    = 10 * time.Minute
	retryLocked     = 31 * time.Minute // login budgets are counted over 30 minutes
	silentAfter     = 5 * time.Minute  // unheard for this long: look whether it is still there
	forgetAfter     = 24 * time.Hour   // unheard for this long: no longer listed, unless the centre knows it
	housekeeping    = 15 * time.Second
	restartFinder   = 5 * time.Second
)

// Options configure an Inventory.
type Options struct {
	Finders   []protocols.Finder
	Describer protocols.Describer // may be nil: then devices stay as they were heard
	Every     time.Duration       // between descriptions of a device that is fine; default 1h
	Log       *slog.Logger        // default: none
}

// Inventory knows devices. Its methods may be called from any goroutine.
type Inventory struct {
	opts    Options
	changed chan struct{} // capacity 1: "look again" needs no count
	poked   chan struct{} // capacity 1, likewise: SetKnown or SetCredentials

	mu      sync.Mutex
	devices []fleet.Device
	known   []fleet.Target
	site    []fleet.Credentials
}

// New returns an Inventory that knows nothing yet. Run makes it find out.
func New(o Options) *Inventory {
	o.Every = cmp.Or(o.Every, time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Inventory{opts: o, changed: make(chan struct{}, 1), poked: make(chan struct{}, 1)}
}

// Devices returns all known devices, ordered by key. The caller must not
// change what it points to.
func (v *Inventory) Devices() []fleet.Device {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.devices)
}

// Changed receives after the devices changed in more than their LastSeen.
// Several changes may come as one.
func (v *Inventory) Changed() <-chan struct{} { return v.changed }

// SetKnown tells which cameras the centre has: they are described whether
// anything hears them or not, with their own credentials first, and their
// devices keep the keys the centre has for them. It replaces what was told
// before.
func (v *Inventory) SetKnown(targets []fleet.Target) {
	v.mu.Lock()
	v.known = slices.Clone(targets)
	v.mu.Unlock()
	poke(v.poked)
}

// SetCredentials tells the site's credentials, tried in order on every device
// that the centre has no own ones for. It replaces what was told before.
func (v *Inventory) SetCredentials(site []fleet.Credentials) {
	v.mu.Lock()
	v.site = slices.Clone(site)
	v.mu.Unlock()
	poke(v.poked)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run finds, merges and describes until ctx is done, and returns when all it
// started has ended. It may be called once.
func (v *Inventory) Run(ctx context.Context) error {
	var started sync.WaitGroup
	defer started.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan fleet.Sighting, 64) // finders must not wait for a merge
	for _, f := range v.opts.Finders {
		started.Go(func() { v.find(ctx, f, heard) })
	}
	b := newBook(v.opts)
	ended := make(chan outcome) // describers wait for the loop, which always comes back to it
	house := time.NewTicker(housekeeping)
	defer house.Stop()
	work := time.NewTimer(0)
	defer work.Stop()
	var (
		mergeAt time.Time     // zero: nothing new
		wakeAt  time.Time     // when work fires
		pace    time.Duration // a merge of thousands of devices takes its time: at most a tenth of ours
		look    = true        // something may be due; a sighting we know changes nothing
	)
	soon := func() {
		if !mergeAt.IsZero() {
			return
		}
		mergeAt = time.Now().Add(max(gather, pace))
		if wakeAt.IsZero() || mergeAt.Before(wakeAt) {
			wakeAt = mergeAt
			work.Reset(time.Until(wakeAt))
		}
	}
	for {
		if look {
			look = false
			now := time.Now()
			if !mergeAt.IsZero() && !now.Before(mergeAt) {
				mergeAt = time.Time{}
				b.merge(now)
				v.publish(b.devices(now))
				pace = 10 * time.Since(now)
			}
			for _, t := range b.due(now) {
				started.Go(func() {
					o := v.describe(ctx, t)
					select {
					case ended <- o:
					case <-ctx.Done():
					}
				})
			}
			wakeAt = b.next(now)
			if !mergeAt.IsZero() && mergeAt.Before(wakeAt) {
				wakeAt = mergeAt
			}
			work.Reset(time.Until(wakeAt))
		}
		select {
		case <-ctx.Done():
			return nil
		case s := <-heard:
			if b.hear(s) {
				soon()
			}
		case o := <-ended:
			b.described(o, time.Now())
			soon()
			look = true
		case <-v.poked:
			v.mu.Lock()
			known, site := v.known, v.site
			v.mu.Unlock()
			b.tell(known, site)
			soon()
			look = true
		case <-house.C:
			b.forget(time.Now())
			soon()
		case <-work.C:
			if b.reveal(time.Now()) {
				soon()
			}
			look = true
		}
	}
}

// find keeps one finder running: a finder that fails is started again.
func (v *Inventory) find(ctx context.Context, f protocols.Finder, heard chan<- fleet.Sighting) {
	failing := false
	for {
		err := f.Find(ctx, func(s fleet.Sighting) {
			select {
			case heard <- s:
			case <-ctx.Done():
			}
		})
		if ctx.Err() != nil {
			return
		}
		if !failing {
			v.opts.Log.Warn("a finder stopped; it is started again every few seconds", "finder", fmt.Sprintf("%T", f), "err", err)
		}
		failing = true
		select {
		case <-time.After(restartFinder):
		case <-ctx.Done():
			return
		}
	}
}

// publish shows devices, and says so if more than the time changed.
func (v *Inventory) publish(devices []fleet.Device) {
	v.mu.Lock()
	old := v.devices
	v.devices = devices
	v.mu.Unlock()
	if !slices.EqualFunc(old, devices, sameButTime) {
		poke(v.changed)
	}
}

func sameButTime(a, b fleet.Device) bool {
	a.LastSeen, b.LastSeen = time.Time{}, time.Time{}
	if (a.ClockSkew - b.ClockSkew).Abs() < time.Second { // every description measures a little differently
		a.ClockSkew = b.ClockSkew
	}
	return reflect.DeepEqual(a, b)
}

// outcome is the end of one description.
type outcome struct {
	rec    *record
	target fleet.Target
	device fleet.Device
	err    error
}

func (v *Inventory) describe(ctx context.Context, t task) outcome {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	d, err := v.opts.Describer.Describe(ctx, t.target)
	return outcome{rec: t.rec, target: t.target, device: d, err: err}
}

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
	device   fleet.Device // of the cluster
	busy     bool
	tried    bool // a description ended, in whatever way
	asked    string
	next     time.Time
	wait     time.Duration
	result   *fleet.Device // the last description that got anywhere
	state    fleet.DeviceState
	reason   string
	reviewed bool // looked at since it fell silent
}

type task struct {
	rec    *record
	target fleet.Target
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
}

func newBook(o Options) *book {
	return &book{opts: o, obs: map[obsID]observation{}, sources: map[netip.Addr]int{}, owner: map[obsID]*record{}}
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
		if len(b.obs) >= maxObservations || b.sources[o.Source] >= maxPerSource {
			return false
		}
		b.sources[o.Source]++
	}
	if r := b.owner[id]; r != nil {
		r.reviewed = false
	}
	return remember(b.obs, o)
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
		o := knownObservation(key, ts)
		for id := range b.obs {
			if id.via == viaKnown && id.primary == key && id != o.id() {
				delete(b.obs, id)
			}
		}
		b.obs[o.id()] = o
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
		for _, e := range t.Endpoints {
			e.URL = withoutUser(e.URL)
			o.Endpoints = append(o.Endpoints, e)
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

// forget drops what nobody has said for a day.
func (b *book) forget(now time.Time) {
	for id, o := range b.obs {
		if id.via == viaKnown || now.Sub(o.At) < forgetAfter {
			continue
		}
		delete(b.obs, id)
		if id.via != viaDescribed {
			if b.sources[id.source]--; b.sources[id.source] <= 0 {
				delete(b.sources, id.source)
			}
		}
	}
}

// merge builds the records anew from the observations. A record goes on with
// the cluster that holds what it was made of.
func (b *book) merge(now time.Time) {
	clusters := merge(b.obs)
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
		for _, o := range c {
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
		for i, c := range clusters {
			if list[i].rec != nil {
				continue
			}
			var best *record
			for _, o := range c {
				r := b.owner[o.id()]
				if r == nil || taken[r] || named && !slices.ContainsFunc(o.Claims, func(c fleet.Claim) bool { return text(c) == r.key }) {
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
		r.cluster, r.device = c, c.device()
		for _, o := range c {
			b.owner[o.id()] = r
		}
		b.records = append(b.records, r)
	}
	slices.SortFunc(b.records, func(x, y *record) int { return cmp.Compare(x.seq, y.seq) })
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
}

func (b *book) record(key string, now time.Time) *record {
	b.seq++
	return &record{key: key, seq: b.seq, created: now, wait: retryDescribe}
}

// target returns what the describer gets, and whether there is anything to
// describe: an ONVIF endpoint, or a device of UPnP without any endpoint, which
// nearly always has ONVIF at its usual place.
func (b *book) target(r *record) (fleet.Target, bool) {
	t := fleet.Target{Device: r.key}
	for _, e := range r.device.Endpoints {
		if e.Protocol == fleet.ONVIF {
			t.Endpoints = append(t.Endpoints, e)
		}
	}
	if len(t.Endpoints) == 0 && len(r.device.Endpoints) == 0 && slices.Contains(r.device.Via, fleet.ViaUPnP) {
		for _, a := range r.device.Addresses[:min(1, len(r.device.Addresses))] {
			host := a.String()
			if a.Is6() {
				host = "[" + host + "]"
			}
			t.Endpoints = []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: (&url.URL{Scheme: "http", Host: host, Path: "/onvif/device_service"}).String()}}
		}
	}
	if len(t.Endpoints) == 0 || b.opts.Describer == nil {
		return t, false
	}
	for _, k := range b.known[r.key] {
		t.Credentials = append(t.Credentials, k.Credentials...)
	}
	t.Credentials = append(t.Credentials, b.site...)
	var once []fleet.Credentials
	for _, c := range t.Credentials {
		if !slices.Contains(once, c) {
			once = append(once, c)
		}
	}
	t.Credentials = once
	return t, true
}

// question tells apart what was asked: another address or login is another try.
func question(t fleet.Target) string {
	var s strings.Builder
	for _, e := range t.Endpoints {
		fmt.Fprintf(&s, "%s\n", e.URL)
	}
	for _, c := range t.Credentials {
		fmt.Fprintf(&s, "%q %d\n", c.User, c.Version)
	}
	return s.String()
}

// listed reports whether r is more than evidence, and not one too many.
func (r *record) listed(n int) bool {
	return n < maxDevices && (len(r.device.Endpoints) > 0 || slices.Contains(r.device.Via, fleet.ViaUPnP) && !r.cluster.hinted()) && r.key != ""
}

// due returns the descriptions to start now.
func (b *book) due(now time.Time) (out []task) {
	n := 0
	for _, r := range b.records {
		if !r.listed(n) {
			continue
		}
		n++
		if r.busy || b.running >= describeWidth || now.Sub(r.created) < r.patience() {
			continue
		}
		t, ok := b.target(r)
		if !ok || !b.wants(r, t, now) {
			continue
		}
		r.busy, r.asked = true, question(t)
		r.shown = true // the login budget is counted by this key from now on
		b.running++
		out = append(out, task{r, t})
	}
	return out
}

func (b *book) wants(r *record, t fleet.Target, now time.Time) bool {
	if r.silent(now) && !r.reviewed {
		return true
	}
	return !r.tried || !now.Before(r.next) || question(t) != r.asked
}

// silent reports whether r was heard before and is not heard any more.
func (r *record) silent(now time.Time) bool {
	heard := r.lastHeard()
	return !heard.IsZero() && now.Sub(heard) >= silentAfter
}

func (r *record) lastHeard() (last time.Time) {
	for _, o := range r.cluster {
		if o.Via != viaKnown && o.Via != viaDescribed && o.At.After(last) {
			last = o.At
		}
	}
	return last
}

// next returns when the loop has something to do that no event announces.
func (b *book) next(now time.Time) time.Time {
	next := now.Add(housekeeping)
	soonest := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	for _, r := range b.records {
		soonest(r.created.Add(settle))
		soonest(r.created.Add(describeFirst))
		soonest(r.next)
	}
	return next
}

// reveal reports whether a device waits to be shown.
func (b *book) reveal(now time.Time) bool {
	return slices.ContainsFunc(b.records, func(r *record) bool { return !r.listing && r.listed(0) && r.ripe(b, now) })
}

// ripe reports whether r may be shown: it had time to be described.
func (r *record) ripe(b *book, now time.Time) bool {
	if _, ok := b.target(r); ok && !r.tried {
		return now.Sub(r.created) >= max(describeFirst, r.patience())
	}
	return now.Sub(r.created) >= r.patience()
}

// patience returns how old r must be before it is shown or asked anything.
func (r *record) patience() time.Duration {
	if r.doubtful && !r.shown && !r.named {
		return doubt
	}
	return settle
}

// described takes the end of a description.
func (b *book) described(o outcome, now time.Time) {
	r := o.rec
	r.busy, r.tried, r.reviewed = false, true, true
	b.running--
	r.state, r.reason = verdict(o)
	switch r.state {
	case fleet.DeviceOK, fleet.DeviceSkewed:
		r.wait, r.next = retryDescribe, now.Add(jitter(b.opts.Every))
	case fleet.DeviceNeedsCredentials:
		r.wait, r.next = retryDescribe, now.Add(jitter(b.opts.Every)) // new credentials come earlier by themselves
	case fleet.DeviceLocked:
		r.next = now.Add(retryLocked)
	default:
		r.next = now.Add(jitter(r.wait))
		r.wait = min(2*r.wait, retryLongest)
	}
	if o.err != nil && len(o.device.Sources) == 0 && len(o.device.Claims) == 0 {
		return
	}
	d := o.device
	if len(d.Sources) == 0 && r.result != nil {
		d.Sources = r.result.Sources // what it offered before it locked us out
	}
	r.result = &d
	b.learn(r, d, now)
}

// learn makes what the device said of itself evidence like the rest.
func (b *book) learn(r *record, d fleet.Device, now time.Time) {
	var of obsID
	found := false
	for _, m := range r.cluster {
		if m.Via != viaDescribed && (!found || len(m.Endpoints) > 0 && m.Endpoints[0].Protocol == fleet.ONVIF) {
			of, found = m.id(), true
			if len(m.Endpoints) > 0 && m.Endpoints[0].Protocol == fleet.ONVIF {
				break
			}
		}
	}
	if !found {
		return
	}
	for id, o := range b.obs {
		if id.via == viaDescribed && b.owner[id] == r && o.of != of {
			delete(b.obs, id)
		}
	}
	o := observation{of: of, first: now}
	o.Via, o.Interface, o.At = viaDescribed, string(of.via)+" "+of.ifname+" "+of.source.String()+" "+of.primary, now
	o.Name, o.Vendor, o.Model = d.Name, d.Vendor, d.Model
	o.Claims = slices.Clone(d.Claims)
	if d.Serial != "" {
		o.Claims = append(o.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: d.Serial})
	}
	// Which endpoint reference the device has, its datagrams say; a description
	// that names another must not tear it from them.
	o.Claims = slices.DeleteFunc(o.Claims, func(c fleet.Claim) bool { return c.Kind == fleet.ClaimEPR || c.Kind == fleet.ClaimUDN })
	o.Sighting = clean(o.Sighting)
	b.obs[o.id()] = o
	b.owner[o.id()] = r
}

func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// verdict says how a description went, and the way on.
func verdict(o outcome) (fleet.DeviceState, string) {
	if o.err == nil {
		return cmp.Or(o.device.State, fleet.DeviceOK), o.device.Reason
	}
	state := fleet.DeviceUnreachable
	if ce, ok := errors.AsType[*fleet.CameraError](o.err); ok {
		switch ce.Cause {
		case fleet.CauseUnauthorized:
			state = fleet.DeviceNeedsCredentials
		case fleet.CauseLocked:
			state = fleet.DeviceLocked
		}
	}
	if s := o.device.State; s != "" && s != fleet.DeviceOK {
		state = s
	}
	return state, cmp.Or(o.device.Reason, cleanText(o.err.Error()))
}

// devices returns what is to be shown, by key.
func (b *book) devices(now time.Time) []fleet.Device {
	var out []fleet.Device
	for _, r := range b.records {
		if !r.listed(len(out)) || !r.listing && !r.ripe(b, now) {
			continue
		}
		r.shown, r.listing = true, true
		out = append(out, r.show(now))
	}
	slices.SortFunc(out, func(x, y fleet.Device) int { return strings.Compare(x.Key, y.Key) })
	return out
}

// show puts the device together from its cluster and its description.
func (r *record) show(now time.Time) fleet.Device {
	d := r.device
	d.Key = r.key
	d.State, d.Reason = cmp.Or(r.state, fleet.DeviceOK), r.reason
	if r.result != nil {
		res := r.result
		d.Firmware, d.Serial, d.ClockSkew = res.Firmware, res.Serial, res.ClockSkew
		d.Sources = res.Sources
		for _, e := range res.Endpoints {
			if !slices.Contains(d.Endpoints, e) && len(d.Endpoints) < maxEndpoints {
				d.Endpoints = append(d.Endpoints, e)
			}
		}
	}
	if len(d.Sources) == 0 {
		s := fleet.Source{Name: d.Name}
		if len(d.Endpoints) > 0 {
			s.Profiles = []fleet.Profile{{Endpoints: d.Endpoints}}
		}
		d.Sources = []fleet.Source{s}
	}
	if d.Serial == "" {
		for _, c := range d.Claims {
			if c.Kind == fleet.ClaimSerial {
				d.Serial = c.Value
				break
			}
		}
	}
	const byUPnP = "heard by UPnP only, with no address for pictures: add it by hand with `cameras add`"
	switch {
	case r.state == fleet.DeviceUnreachable && len(d.Endpoints) == 0:
		d.Reason = byUPnP + "; ONVIF at its usual place: " + d.Reason
	case r.state == fleet.DeviceNeedsCredentials && d.Reason == "":
		d.Reason = "no login for it is known: give one with `creds put`"
	case r.state != "":
	case r.cluster.gone():
		d.State, d.Reason = fleet.DeviceUnreachable, "it said goodbye; it is listed again as soon as it is heard"
	case r.silent(now):
		d.State, d.Reason = fleet.DeviceUnreachable, "not heard for five minutes; check its power and network"
	case len(d.Endpoints) == 0:
		d.State, d.Reason = fleet.DeviceUnreachable, byUPnP
	}
	return d
}
