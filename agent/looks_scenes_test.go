//go:build !race

package agent_test

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent"
	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// TestLooksOfVirtualCameras: what goes wrong with a camera is named once it is
// known, and not before; it lasts, and goes; and a restart forgets nothing.
func TestLooksOfVirtualCameras(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	reader, err := capture.New(capture.Options{NoThumbnail: true})
	must(t, err)
	for _, scene := range []camtest.Scene{camtest.Gate, camtest.Aisle} {
		t.Run(string(scene), func(t *testing.T) {
			s := openNotes(t, path+string(scene))
			defer func() { must(t, s.Close()) }()
			cam, looks := newLens(t, scene), agent.NewLooks(reader, s, agent.LooksOptions{})
			if v := see(t, looks, cam.frame()); v.Fault != fleet.FaultNone || !v.Learning {
				t.Fatalf("the first frame: %+v", v)
			}
			for range 18 {
				if v := see(t, looks, cam.frame()); v.Fault != fleet.FaultNone {
					t.Fatalf("an ordinary frame: %+v", v)
				}
			}
			for _, fault := range []fleet.Fault{fleet.FaultCovered, fleet.FaultMoved, fleet.FaultOverExposed, fleet.FaultBlurred, fleet.FaultFrozen, fleet.FaultBlack} {
				cam.set(fault, true)
				var v fleet.Verdict
				for range 3 {
					v = see(t, looks, cam.frame())
				}
				// A camera that was never dark is not known by that light.
				if v.Fault != fault || v.Lasting != fault || v.Learning != (fault == fleet.FaultBlack) || v.Score < 0.5 || v.Metric == "" || (v.ShiftX != 0) != (fault == fleet.FaultMoved) {
					t.Errorf("%s: %+v", fault, v)
				}
				if fault == fleet.FaultMoved && (math.Abs(float64(v.ShiftX)-0.125) > 0.02 || math.Abs(float64(v.ShiftY)-1.0/12) > 0.02) {
					t.Errorf("it moved by 64 of 512 to the right and 24 of 288 downwards: %+v", v)
				}
				cam.set(fault, false)
				for range 4 {
					v = see(t, looks, cam.frame())
				}
				if v != (fleet.Verdict{Fault: fleet.FaultNone}) {
					t.Errorf("after %s: %+v", fault, v)
				}
			}

			looks.Save()
			must(t, s.Close())
			s = openNotes(t, path+string(scene))
			looks = agent.NewLooks(reader, s, agent.LooksOptions{})
			cam.set(fleet.FaultMoved, true)
			if v := see(t, looks, cam.frame()); v.Fault != fleet.FaultMoved {
				t.Errorf("after a restart: %+v", v)
			}
			see(t, looks, cam.frame())
			r, err := looks.Relearn(t.Context(), 1)
			if err != nil || r.Lasting != fleet.FaultMoved || !r.Since.Equal(cam.now.Add(-time.Minute)) {
				t.Errorf("relearn: %+v, %v", r, err)
			}
			for i := range 20 {
				if v := see(t, looks, cam.frame()); v.Fault != fleet.FaultNone || v.Learning != (i < 16) {
					t.Fatalf("frame %d after the move was accepted: %+v", i, v)
				}
			}
			cam.set(fleet.FaultMoved, false)
			if v := see(t, looks, cam.frame()); v.Fault != fleet.FaultMoved {
				t.Errorf("moved back: %+v", v)
			}
		})
	}
}
