package store_test

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func hidden(share float64) fleet.Mask {
	return fleet.Mask{Rectangles: []fleet.Rectangle{{Width: share, Height: 1}}}
}

// TestMasks holds the rule, when a camera may be looked at and under which mask,
// against a plain one, through restarts: what is asked for and was not brought
// by a list since forbids.
func TestMasks(t *testing.T) {
	dir := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		files++
		path := filepath.Join(dir, strconv.Itoa(files)+".db")
		options := store.Options{Codec: codec, Linger: -1}
		s, err := store.Open(path, options)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		type camera struct {
			held, asked uint64
			share       float64 // of the mask; 0 = none
		}
		model := map[fleet.CameraID]camera{}
		nonce, newest := uint64(0), map[fleet.CameraID]uint64{}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			nonce++
			switch rapid.SampledFrom([]string{"list", "orders", "restart"}).Draw(t, "step") {
			case "list":
				c := store.Cameras{Version: nonce, Full: true}
				clear(model)
				for id := fleet.CameraID(1); id <= 3; id++ {
					if rapid.Bool().Draw(t, "gone") {
						continue
					}
					now := camera{}
					target := fleet.Target{Camera: id, Device: "d"}
					if rapid.Bool().Draw(t, "masked") {
						newest[id]++
						now.held, now.share = newest[id], rapid.SampledFrom([]float64{0.25, 0.5}).Draw(t, "share")
						target.Mask = fleet.CameraMask{Revision: now.held, Mask: hidden(now.share)}
					}
					c.Put, model[id] = append(c.Put, target), now
				}
				if err := s.SetCameras(t.Context(), c, nonce, 1); err != nil {
					t.Fatal(err)
				}
			case "orders":
				id := fleet.CameraID(rapid.IntRange(1, 3).Draw(t, "camera"))
				asked := newest[id] + uint64(rapid.IntRange(0, 1).Draw(t, "lost")) // by a list that never came
				newest[id] = asked
				if err := errors.Join(s.NeedMasks(map[fleet.CameraID]uint64{id: asked}), s.Begin(t.Context(), nil, nonce, 1)); err != nil {
					t.Fatal(err)
				}
				if c, ok := model[id]; ok {
					c.asked = max(c.asked, asked)
					model[id] = c
				}
			case "restart":
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = store.Open(path, options); err != nil {
					t.Fatal(err)
				}
			}
			for id := fleet.CameraID(1); id <= 3; id++ {
				c, known := model[id]
				m, err := s.Mask(id)
				if want := known && c.asked <= c.held; (err == nil) != want {
					t.Fatalf("camera %d, %+v, known %v: %v", id, c, known, err)
				}
				if err != nil {
					continue
				}
				if want := hidden(c.share); c.share == 0 && m != nil || c.share != 0 && m.Sum() != want.Sum() {
					t.Fatalf("camera %d is looked at under %+v, want %+v", id, m, c)
				}
			}
		}
	})
}

// TestUnreadMask: who cannot read a mask does not look.
func TestUnreadMask(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"), store.Options{})
	must(t, s.SetCameras(t.Context(), store.Cameras{Version: 1, Full: true, Put: []fleet.Target{{Camera: 1, Mask: fleet.CameraMask{Revision: 3}}}}, 1, 1))
	_, err := s.Mask(1)
	if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseMask || !strings.Contains(err.Error(), "update it") {
		t.Errorf("%v", err)
	}
}

// TestMaskCostsNothing: asking for the mask of a camera that has none, which is
// done for each frame, takes no memory.
func TestMaskCostsNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"), store.Options{})
	must(t, s.SetCameras(t.Context(), store.Cameras{Version: 1, Full: true, Put: []fleet.Target{{Camera: 1}}}, 1, 1))
	if n := testing.AllocsPerRun(100, func() {
		if m, err := s.Mask(1); m != nil || err != nil {
			t.Error(m, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
