package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// street is a Finder of cameras that answer a probe each 20 s.
type street struct {
	mu    sync.Mutex
	there []fleet.Sighting
}

func (s *street) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	for {
		s.mu.Lock()
		all := slices.Clone(s.there)
		s.mu.Unlock()
		for _, v := range all {
			v.At = time.Now()
			heard(v)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Second):
		}
	}
}

func (s *street) set(all ...fleet.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there = all
}

func (s *street) neighbours() (map[netip.Addr]net.HardwareAddr, error) {
	out := map[netip.Addr]net.HardwareAddr{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.there {
		ip := v.Source.As4()
		out[v.Source] = net.HardwareAddr{0xac, 0xcc, 0x8e, 0, 0, ip[3]}
	}
	return out, nil
}

func answering(n byte) fleet.Sighting {
	ip := netip.AddrFrom4([4]byte{192, 0, 2, n})
	return fleet.Sighting{
		Via: fleet.ViaWSDiscovery, Source: ip, Interface: "eth0", Claims: []fleet.Claim{{Kind: fleet.ClaimEPR, Value: "urn:uuid:0a000000-0000-4000-8000-000000000001"}},
		Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://" + ip.String() + "/onvif/device_service"}},
	}
}

// TestConflictFromLANToDecision joins a real inventory with a real scheduler:
// two cameras answer with one name, both go where they belong, and what an
// operator decides comes back to the agent and outlives the agent's restart.
func TestConflictFromLANToDecision(t *testing.T) {
	for name, tc := range map[string]struct{ approved, same bool }{
		"known, different": {true, false}, "known, same": {true, true}, "new, different": {false, false}, "new, same": {false, true},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { conflictFromLAN(t, tc.approved, tc.same) }) })
	}
}

func conflictFromLAN(t *testing.T, approved, same bool) {
	s := must(scheduler.New(t.Context(), t.TempDir(), scheduler.Options{SealKey: [32]byte{1}}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	}()
	_, text, err := s.CreateKey(t.Context(), scheduler.NewKey{Site: "lab", Approve: true}, [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	key := must(fleet.ParseSiteKey(text))
	box := must(s.Enrol(t.Context(), key.Secret[:], "box", "test"))
	lan := &street{}
	one, two := answering(1), answering(2)
	lan.set(one)
	stop := follow(t, s, box.ID, lan)
	time.Sleep(time.Minute)
	id := only(t, s, 1)[0].ID
	if approved {
		must(s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Approved))
	}
	lan.set(one, two)
	time.Sleep(5 * time.Minute)
	both := only(t, s, 2)
	i := slices.IndexFunc(both, func(v scheduler.CameraView) bool { return v.ID != id })
	rival, known := both[i], both[1-i]
	want := fleet.Quarantined
	if approved {
		want = fleet.Approved
	}
	if known.State != want || rival.State != fleet.Quarantined || known.DeviceState != fleet.DeviceConflict || rival.Addresses[0] != two.Source || known.Addresses[0] != one.Source {
		t.Fatalf("in conflict: %+v", both)
	}
	must(s.Resolve(t.Context(), id, scheduler.Resolution{Same: same}))
	for range 2 {
		time.Sleep(5 * time.Minute)
		want, other := fleet.Pending, fleet.Pending
		if approved {
			want = fleet.Approved
		}
		if same {
			other = fleet.Retired
		}
		both = only(t, s, 2)
		i = slices.IndexFunc(both, func(v scheduler.CameraView) bool { return v.ID != id })
		if r, k := both[i], both[1-i]; k.State != want || k.DeviceState != fleet.DeviceOK || r.State != other || same != (len(k.Addresses) == 2) {
			t.Errorf("decided: %+v", both)
		}
		if c := must(s.Conflicts(t.Context(), "")); len(c) != 0 {
			t.Errorf("conflicts are left: %+v", c)
		}
		stop()
		stop = follow(t, s, box.ID, lan) // a new agent, that knows what the centre tells
	}
	stop()
}

func only(t *testing.T, s *scheduler.Scheduler, n int) []scheduler.CameraView {
	t.Helper()
	all := must(s.Cameras(t.Context(), scheduler.CameraQuery{}))
	if len(all) != n {
		t.Fatalf("%d cameras, want %d: %+v", len(all), n, all)
	}
	return all
}

// follow runs an inventory whose centre is s.
func follow(t *testing.T, s *scheduler.Scheduler, agent fleet.AgentID, lan *street) (stop func()) {
	v := inventory.New(inventory.Options{Finders: []protocols.Finder{lan}, Neighbours: lan.neighbours})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	link := must(s.Connect(ctx, agent, "box", "test"))
	wg.Go(func() {
		if err := v.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for {
			in, err := link.Next(ctx)
			if err != nil {
				return
			}
			if in.Cameras != nil {
				v.SetKnown(in.Cameras.Cameras)
			}
			link.Stored(in.Nonce)
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-v.Changed():
			}
			if err := s.Inventory(ctx, agent, overTheLine(v.Devices())); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		s.Disconnect(context.Background(), link, true)
	}
}

// overTheLine is what is left of devices as JSON.
func overTheLine(devices []fleet.Device) (out []fleet.Device) {
	for _, d := range devices {
		var v fleet.Device
		if b, err := json.Marshal(d); err != nil || json.Unmarshal(b, &v) != nil {
			panic(fmt.Sprint("a device is no JSON: ", err))
		}
		out = append(out, v)
	}
	return out
}
