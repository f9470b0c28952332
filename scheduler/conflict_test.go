package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

const cloned = "urn:uuid:0a000000-0000-4000-8000-000000000001"

// endpointAt returns a device of one nameless source.
func deviceAt(key, ip, mac string) fleet.Device {
	es := []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://" + ip + "/live"}}
	return fleet.Device{
		Key: key, Name: "gate", State: fleet.DeviceOK, Addresses: []netip.Addr{netip.MustParseAddr(ip)}, Endpoints: es, LastSeen: time.Now(),
		Claims:  []fleet.Claim{{Kind: fleet.ClaimEPR, Value: cloned}, {Kind: fleet.ClaimMAC, Value: mac}},
		Sources: []fleet.Source{{Profiles: []fleet.Profile{{Endpoints: es}}}},
	}
}

// contradict puts two devices in conflict, as an agent tells it.
func contradict(a, b fleet.Device) (fleet.Device, fleet.Device) {
	rival := func(d fleet.Device) *fleet.Conflict {
		return &fleet.Conflict{Rivals: []fleet.Rival{{Key: d.Key, Addresses: d.Addresses, Claims: d.Claims, LastSeen: d.LastSeen, Evidence: []fleet.Evidence{{Kind: "epr", Value: cloned, Weight: 160}}}}}
	}
	a.Conflict, b.Conflict = rival(b), rival(a)
	for _, d := range []*fleet.Device{&a, &b} {
		d.State, d.Reason = fleet.DeviceConflict, "the other has the same epr: `cameras resolve`"
		d.Evidence = []fleet.Evidence{{Kind: "epr", Value: fleet.BareUUID(cloned), Junk: true}}
	}
	return a, b
}

// lan is one agent that tells of devices.
type lan struct {
	t *testing.T
	s *scheduler.Scheduler
	a fleet.AgentID
}

func (l lan) tell(ds ...fleet.Device) map[string]scheduler.CameraView {
	l.t.Helper()
	if err := l.s.Inventory(l.t.Context(), l.a, ds); err != nil {
		l.t.Fatal(err)
	}
	return l.cameras()
}

// rivals has the agent tell of two devices, of which the first is approved, and
// then that they contradict each other. It returns the two without the
// contradiction, and what the centre then has of them.
func (l lan) rivals() (one, two fleet.Device, told map[string]scheduler.CameraView) {
	l.t.Helper()
	one, two = deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01"), deviceAt(keyTwo, "192.0.2.2", "ac:cc:8e:00:00:02")
	id := l.tell(one)[keyOne].ID
	must[[]scheduler.CameraView](l.t)(l.s.EnrolCameras(l.t.Context(), []fleet.CameraID{id}, fleet.Approved))
	return one, two, l.tell(contradict(one, two))
}

func (l lan) cameras() map[string]scheduler.CameraView {
	l.t.Helper()
	out := map[string]scheduler.CameraView{}
	for _, v := range must[[]scheduler.CameraView](l.t)(l.s.Cameras(l.t.Context(), scheduler.CameraQuery{})) {
		out[v.Device] = v
	}
	return out
}

// targets returns what agents of the site are told of devices, by key.
func (l lan) targets() map[string]fleet.Target {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	link := must[*scheduler.Link](l.t)(l.s.Connect(ctx, l.a, "box", "test"))
	defer l.s.Disconnect(context.Background(), link, true)
	out := map[string]fleet.Target{}
	for {
		in := must[scheduler.Instruction](l.t)(link.Next(ctx))
		if in.Cameras != nil {
			for _, t := range in.Cameras.Cameras {
				out[t.Device] = t
			}
			return out
		}
	}
}

const (
	keyOne = "epr:" + cloned
	keyTwo = "mac:ac:cc:8e:00:00:02"
)

// TestConflict: the known camera goes on while it is where it was; its rival,
// and a camera that moved in the middle of it, wait for an operator.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		l := lan{t, s, enrol(t, s, "lab").ID}
		one, two, got := l.rivals()
		id := got[keyOne].ID
		if len(got) != 2 || got[keyOne].State != fleet.Approved || got[keyOne].DeviceState != fleet.DeviceConflict || got[keyOne].Reason == "" {
			t.Fatalf("%+v, want the approved one to go on", got)
		}
		if v := got[keyTwo]; v.State != fleet.Quarantined || v.Status != scheduler.StatusQuarantined || v.Addresses[0] != two.Addresses[0] {
			t.Fatalf("%+v, want its rival in quarantine", v)
		}
		x, y := contradict(one, two)
		version := got[keyOne].Version
		if v := l.tell(x, y)[keyOne]; v.Version != version {
			t.Error("telling the same again made a new version")
		}
		c := must[scheduler.ConflictView](t)(s.Conflict(t.Context(), id))
		if c.Self.Addresses[0] != one.Addresses[0] || len(c.Rivals) != 1 || c.Rivals[0].Key != keyTwo || !slices.Equal(c.Rivals[0].Cameras, []fleet.CameraID{got[keyTwo].ID}) {
			t.Errorf("conflict %+v, want both sides", c)
		}
		if all := must[[]scheduler.ConflictView](t)(s.Conflicts(t.Context(), "lab")); len(all) != 2 {
			t.Errorf("%d conflicts, want one for each side", len(all))
		}

		// It moves while it is contradicted: now it waits as well, also when the
		// rival is gone, until it is back where it was.
		moved := deviceAt(keyOne, "192.0.2.7", "ac:cc:8e:00:00:01")
		m, y := contradict(moved, two)
		if got = l.tell(m, y); got[keyOne].State != fleet.Quarantined {
			t.Fatalf("moved in the conflict: %+v", got[keyOne])
		}
		if got = l.tell(moved); got[keyOne].State != fleet.Quarantined {
			t.Errorf("its rival left, and it is elsewhere: %s", got[keyOne].State)
		}
		if got = l.tell(one, two); got[keyOne].State != fleet.Approved || got[keyTwo].State != fleet.Pending {
			t.Errorf("all is as it was: %s and %s", got[keyOne].State, got[keyTwo].State)
		}
		if _, err := s.Conflict(t.Context(), id); !errors.Is(err, scheduler.ErrNotFound) {
			t.Errorf("conflict that is over: %v", err)
		}

		// A rival at its very address stops it.
		there := deviceAt(keyTwo, "192.0.2.1", "ac:cc:8e:00:00:02")
		x, y = contradict(one, there)
		if got = l.tell(x, y); got[keyOne].State != fleet.Quarantined {
			t.Errorf("a rival at its address: %s", got[keyOne].State)
		}
	})
}

// TestResolve: what an operator decides outlives a restart, and agents hear it.
func TestResolve(t *testing.T) {
	for name, same := range map[string]bool{"different": false, "same": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s, stop := open(t, dir)
				l := lan{t, s, enrol(t, s, "lab").ID}
				one, two, both := l.rivals()
				id, rival := both[keyOne].ID, both[keyTwo].ID
				if _, err := s.Resolve(t.Context(), rival, scheduler.Resolution{Same: same, Rival: "host:nobody"}); err == nil {
					t.Error("a rival that is none was taken")
				}
				// The newcomer is named; the approved one stays all the same.
				v := must[scheduler.CameraView](t)(s.Resolve(t.Context(), rival, scheduler.Resolution{Same: same, By: "ann"}))
				if same && v.ID != id || !same && (v.ID != rival || v.State != fleet.Pending) {
					t.Errorf("resolved: %+v", v)
				}
				if _, err := s.Resolve(t.Context(), id, scheduler.Resolution{Same: same}); err == nil {
					t.Error("resolved twice")
				}

				stop()
				s, stop = open(t, dir)
				defer stop()
				l.s = s
				got := l.cameras()
				want := fleet.Pending
				if same {
					want = fleet.Retired
				}
				if got[keyOne].State != fleet.Approved || got[keyTwo].State != want {
					t.Errorf("after a restart: %s and %s, want approved and %s", got[keyOne].State, got[keyTwo].State, want)
				}
				told := l.targets()
				if k := told[keyOne]; same && !slices.Equal(k.Same, []string{keyTwo}) || !same && !slices.Equal(k.Apart, []string{keyTwo}) {
					t.Errorf("agents are told %+v", told)
				}
				if _, ok := told[keyTwo]; ok == same {
					t.Errorf("agents are told %+v of the other", told)
				}
				// An agent that has not heard of it yet changes nothing.
				got = l.tell(contradict(one, two))
				if len(got) != 2 || got[keyOne].State != fleet.Approved || got[keyTwo].State != want {
					t.Errorf("told of the conflict again: %+v", got)
				}
				if all := must[[]scheduler.ConflictView](t)(s.Conflicts(t.Context(), "")); len(all) != 0 {
					t.Errorf("conflicts that are resolved: %+v", all)
				}
			})
		})
	}
}

// TestAddressChange: a camera that moves stays the same camera, its orders name
// the new address, and captures go on.
func TestAddressChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		a := enrol(t, s, "lab")
		l := lan{t, s, a.ID}
		id := l.tell(deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01"))[keyOne].ID
		must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Approved))
		apply(t, s, every("e", 10*time.Second))
		r := &robot{s: s, id: a.ID, held: map[fleet.Occurrence]fleet.Order{}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.run(ctx, t) })
		time.Sleep(5 * time.Minute)
		before := books(t, s)
		got := l.tell(deviceAt(keyOne, "192.0.2.9", "ac:cc:8e:00:00:01"))
		if v := got[keyOne]; len(got) != 1 || v.ID != id || v.State != fleet.Approved || v.Addresses[0] != netip.MustParseAddr("192.0.2.9") || v.Endpoints[0].URL != "rtsp://192.0.2.9/live" {
			t.Errorf("%+v, want the same camera at its new address", got)
		}
		time.Sleep(5 * time.Minute)
		if after := books(t, s); after.Captured < before.Captured+29 || after.Failed+after.Missed > 0 {
			t.Errorf("books before %+v, after %+v: want 30 captures more", before, after)
		}
		cancel()
		wg.Wait()
		if told := l.targets(); told[keyOne].Endpoints[0].URL != "rtsp://192.0.2.9/live" {
			t.Errorf("agents are told %+v", told)
		}
	})
}

// TestLockedOutCamerasEnrol: a camera that nobody may enter is enrolled, with
// the reason.
func TestLockedOutCamerasEnrol(t *testing.T) {
	for _, state := range []fleet.DeviceState{fleet.DeviceNeedsCredentials, fleet.DeviceLocked, fleet.DeviceUnreachable, fleet.DeviceSkewed} {
		t.Run(string(state), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, stop := open(t, t.TempDir())
				defer stop()
				a := enrol(t, s, "lab")
				l := lan{t, s, a.ID}
				d := deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01")
				d.State, d.Reason = state, "why, and the fix"
				v := l.tell(d)[keyOne]
				if v.State != fleet.Pending || v.DeviceState != state || v.Reason != d.Reason {
					t.Fatalf("%+v, want it pending and %s", v, state)
				}
				must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{v.ID}, fleet.Approved))
				link := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "box", "test"))
				defer s.Disconnect(context.Background(), link, true)
				want := scheduler.StatusIdle
				if state == fleet.DeviceNeedsCredentials || state == fleet.DeviceLocked {
					want = scheduler.StatusNeedsCredentials
				}
				if v = l.cameras()[keyOne]; v.Status != want {
					t.Errorf("approved, its status is %s, want %s", v.Status, want)
				}
			})
		})
	}
}

// TestConflictsWithoutEnd: a LAN that has made up more conflicts than are kept
// cannot move a camera in the middle of one that finds no room.
func TestConflictsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		l := lan{t, s, enrol(t, s, "lab").ID}
		one, thief := deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01"), deviceAt("mac:ac:cc:8e:00:00:66", "192.0.2.66", "ac:cc:8e:00:00:66")
		id := l.tell(one)[keyOne].ID
		must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Approved))
		var crowd []fleet.Device
		for i := range 4096 {
			d := deviceAt(fmt.Sprintf("host:made-up-%d", i), "192.0.2.9", "ac:cc:8e:00:00:09")
			d.Claims = nil
			d, _ = contradict(d, thief)
			crowd = append(crowd, d)
		}
		l.tell(crowd...)
		moved, _ := contradict(deviceAt(keyOne, "192.0.2.66", "ac:cc:8e:00:00:01"), thief)
		if v := l.tell(moved)[keyOne]; v.State == fleet.Approved && v.Addresses[0] != one.Addresses[0] {
			t.Errorf("%s at %v, want it where it was, or in quarantine", v.State, v.Addresses)
		}
	})
}
