// Package finding measures how many of the cameras on a network are found, and
// how soon: by each way of discovery, merged into devices, described, and
// photographed. The cameras are virtual ones, so that all are known.
package finding

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

// Way is how far one way of discovery comes. Times are in milliseconds from the
// start of the search; 0 when nothing was found.
type Way struct {
	Present int     `json:"present"` // cameras that answer this way
	Found   int     `json:"found"`
	FirstMS float64 `json:"first_ms"`
	LastMS  float64 `json:"last_ms"` // of those that were found
	Error   string  `json:"error,omitempty"`
}

// Spread is a median and the worst, in milliseconds from the start.
type Spread struct {
	P50 float64 `json:"p50"`
	Max float64 `json:"max"`
}

// Figures are of one search.
type Figures struct {
	Cameras     int            `json:"cameras"`
	Found       int            `json:"found"`     // by any way
	Devices     int            `json:"devices"`   // what was found, merged: no more than cameras
	Described   int            `json:"described"` // they let us in
	Frames      int            `json:"frames"`    // cameras that gave a picture
	Ways        map[string]Way `json:"ways"`
	FoundMS     Spread         `json:"found_ms"`
	DescribedMS Spread         `json:"described_ms"`
	FrameMS     Spread         `json:"frame_ms"`
}

// vias are the ways that the cameras know.
var vias = [...]fleet.Via{fleet.ViaWSDiscovery, fleet.ViaMDNS, fleet.ViaUPnP}

// Present returns the addresses of the town's cameras that answer by each way.
func Present(town *camtest.Town) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for _, c := range town.Cameras() {
		for _, v := range c.Via {
			out[string(v)] = append(out[string(v)], c.Addr)
		}
	}
	return out
}

// search is one run of Own.
type search struct {
	began time.Time

	mu        sync.Mutex
	heard     map[fleet.Via]map[netip.Addr]time.Duration
	described map[netip.Addr]time.Duration
	frames    map[netip.Addr]time.Duration
	asked     map[netip.Addr]bool
}

// tap notes what a finder hears.
type tap struct {
	protocols.Finder
	via fleet.Via
	s   *search
}

func (t tap) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	return t.Finder.Find(ctx, func(s fleet.Sighting) { //nolint:wrapcheck // it is the finder's own
		t.s.first(t.s.heard[t.via], s.Source)
		heard(s)
	})
}

func (s *search) first(in map[netip.Addr]time.Duration, a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := in[a]; !ok {
		in[a] = time.Since(s.began)
	}
}

// Own searches for the town's cameras until all of them have given a picture
// and were heard by each way that they know, or d is over, on the loopback
// interface. The agent's own parts do it: finders,
// inventory, and all protocols.
func Own(ctx context.Context, town *camtest.Town, d time.Duration) (Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	s := &search{
		began: time.Now(), heard: map[fleet.Via]map[netip.Addr]time.Duration{},
		described: map[netip.Addr]time.Duration{}, frames: map[netip.Addr]time.Duration{}, asked: map[netip.Addr]bool{},
	}
	for _, v := range vias {
		s.heard[v] = map[netip.Addr]time.Duration{}
	}
	g := guard.New(guard.Options{})
	defer g.Close()
	mux := protocols.New(protocols.Options{Guard: g, Codecs: []fleet.Codec{fleet.JPEG, fleet.PNG, fleet.H264}})
	finders := []protocols.Finder{
		tap{wsdiscovery.New(wsdiscovery.Options{Interfaces: lan.Loopback}), fleet.ViaWSDiscovery, s},
		tap{mdns.New(mdns.Options{Interfaces: lan.Loopback}), fleet.ViaMDNS, s},
		tap{upnp.New(upnp.Options{Interfaces: lan.Loopback}), fleet.ViaUPnP, s},
	}
	inv := inventory.New(inventory.Options{Finders: finders, Describer: mux})
	login := []fleet.Credentials{town.Credentials()}
	inv.SetCredentials(login)

	var work sync.WaitGroup
	var failed error
	work.Go(func() { failed = inv.Run(ctx) })
	cameras := town.Cameras()
	tick := time.NewTicker(20 * time.Millisecond) // grabs end without a word to the inventory
	defer tick.Stop()
	var devices []fleet.Device
	present := Present(town)
	for done := false; !done; {
		devices = inv.Devices()
		for _, dev := range devices {
			s.look(ctx, &work, mux, dev, cameras, login)
		}
		done = s.complete(len(cameras), present)
		select {
		case <-inv.Changed():
		case <-tick.C:
		case <-ctx.Done():
			done = true
		}
	}
	cancel()
	work.Wait()
	if failed != nil && !errors.Is(failed, context.Canceled) && !errors.Is(failed, context.DeadlineExceeded) {
		return Figures{}, fmt.Errorf("search: %w", failed)
	}
	return s.figures(town, devices), nil
}

// complete reports whether all cameras have given a picture, and have been heard
// by each way that they know: what found one first is not all that finds it.
func (s *search) complete(cameras int, present map[string][]netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, via := range vias {
		for _, a := range present[string(via)] {
			if _, ok := s.heard[via][a]; !ok {
				return false
			}
		}
	}
	return len(s.frames) >= cameras
}

// look notes a device's progress, and takes its first picture.
func (s *search) look(ctx context.Context, work *sync.WaitGroup, mux *protocols.Mux, dev fleet.Device, cameras []camtest.Info, login []fleet.Credentials) {
	i := slices.IndexFunc(cameras, func(c camtest.Info) bool { return slices.Contains(dev.Addresses, c.Addr) })
	if i < 0 || dev.State != fleet.DeviceOK && dev.State != fleet.DeviceSkewed || len(dev.Sources) == 0 {
		return
	}
	at := cameras[i].Addr
	s.first(s.described, at)
	s.mu.Lock()
	again := s.asked[at]
	s.asked[at] = true
	s.mu.Unlock()
	if again {
		return
	}
	work.Go(func() {
		if _, err := mux.Grab(ctx, fleet.Target{Device: dev.Key, Source: dev.Sources[0].Token, Endpoints: dev.Endpoints, Credentials: login}); err == nil {
			s.first(s.frames, at)
		}
	})
}

func (s *search) figures(town *camtest.Town, devices []fleet.Device) Figures {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := Present(town)
	f := Figures{Cameras: len(town.Cameras()), Described: len(s.described), Frames: len(s.frames), Ways: map[string]Way{}}
	sooner := map[netip.Addr]time.Duration{}
	for _, v := range vias {
		f.Ways[string(v)] = WayOf(present[string(v)], s.heard[v])
		for _, a := range present[string(v)] {
			if t, ok := s.heard[v][a]; ok && (sooner[a] == 0 || t < sooner[a]) {
				sooner[a] = t
			}
		}
	}
	f.Found = len(sooner)
	for _, d := range devices {
		if slices.ContainsFunc(town.Cameras(), func(c camtest.Info) bool { return slices.Contains(d.Addresses, c.Addr) }) {
			f.Devices++
		}
	}
	f.FoundMS, f.DescribedMS, f.FrameMS = spread(sooner), spread(s.described), spread(s.frames)
	return f
}

// WayOf counts which of those present were heard, and when.
func WayOf(present []netip.Addr, heard map[netip.Addr]time.Duration) Way {
	w := Way{Present: len(present)}
	for _, a := range present {
		t, ok := heard[a]
		if !ok {
			continue
		}
		w.Found++
		if ms := t.Seconds() * 1000; w.Found == 1 || ms < w.FirstMS {
			w.FirstMS = ms
		}
		w.LastMS = max(w.LastMS, t.Seconds()*1000)
	}
	return w
}

func spread(m map[netip.Addr]time.Duration) (s Spread) {
	var all []time.Duration
	for _, t := range m {
		all = append(all, t)
	}
	if len(all) == 0 {
		return s
	}
	slices.Sort(all)
	return Spread{P50: all[(len(all)-1)/2].Seconds() * 1000, Max: all[len(all)-1].Seconds() * 1000}
}
