package uplink_test

import (
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

const half, third = `{"rectangles":[{"x":0,"y":0,"width":0.5,"height":1}]}`, `{"rectangles":[{"x":0,"y":0,"width":0.33,"height":1}]}`

func sum(t *testing.T, shapes string) fleet.MaskSum {
	t.Helper()
	m, err := fleet.ParseMask([]byte(shapes))
	must(t, err)
	return m.Sum()
}

// picture is a thumbnail of a camera, made under a mask.
func picture(camera fleet.CameraID, at fleet.Instant, mask fleet.MaskSum) fleet.Capture {
	c := fleet.Capture{Occurrence: fleet.Occurrence{Camera: camera, Schedule: 1, Nominal: at}, Outcome: fleet.Captured, At: at}
	c.Reading.Thumbnail, c.Reading.Fingerprint.Mask = []byte("jpeg"), mask
	return c
}

// TestThumbnailsUnderTheMaskOfNow: no thumbnail goes before the list of cameras
// has come, for it may bring a mask; then those go that were made under the mask
// of now, and no others, whenever they were made.
func TestThumbnailsUnderTheMaskOfNow(t *testing.T) {
	b := newBench(t)
	b.serve()
	stop := b.connect(nil)
	b.await("it is connected", connected)
	b.line.Show(picture(1, 10, 0))
	b.line.Show(picture(2, 10, 0))
	b.Push(uplinktest.Orders(orders(1)...)) // taken behind whatever the thumbnails did
	if s := b.await("an instruction is stored", stored); s.Thumbs != 0 {
		t.Fatalf("%d thumbnails went before the list of cameras", s.Thumbs)
	}
	b.Push(uplinktest.Masked(uplinktest.Cameras(3), 1, 1, half))
	s := b.await("the camera without a mask is shown", func(s uplinktest.State) bool { return s.Thumbs > 0 })
	if s.Thumbs != 1 || s.Shown[0].GetCamera() != 2 || s.Shown[0].GetMask() != 0 {
		t.Fatalf("%v", s.Shown)
	}

	b.line.Show(picture(1, 20, 0)) // read before the list came, shown behind it
	b.line.Show(picture(1, 30, sum(t, half)))
	s = b.await("it is shown under its mask", func(s uplinktest.State) bool { return s.Thumbs == 2 })
	if s.Shown[1].GetAtMs() != 30 || s.Shown[1].GetMask() != uint64(sum(t, half)) {
		t.Fatalf("%v", s.Shown)
	}

	// While the line is cut, pictures gather; the mask is another when it is back.
	// What was not acknowledged would come again before it.
	b.await("the list is acknowledged", stored)
	stop()
	b.connect(nil)
	b.line.Show(picture(1, 40, sum(t, half)))
	b.line.Show(picture(3, 40, 0))
	b.await("it is back", func(s uplinktest.State) bool { return len(s.Hellos) == 2 })
	b.Push(uplinktest.Masked(uplinktest.Cameras(3), 1, 2, third))
	s = b.await("the others are shown", func(s uplinktest.State) bool { return s.Thumbs == 3 })
	if s.Shown[2].GetCamera() != 3 {
		t.Fatalf("%v", s.Shown)
	}
	b.line.Show(picture(1, 50, sum(t, third)))
	b.await("it is shown under the new mask", func(s uplinktest.State) bool { return s.Thumbs == 4 && s.Shown[3].GetAtMs() == 50 })
}

// TestNoThumbnailOfAnotherMaskGoes: what was read under the mask of before and is
// shown behind the list that changed it stays here, whatever else goes.
func TestNoThumbnailOfAnotherMaskGoes(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.connect(nil)
	b.await("it is connected", connected)
	b.Push(uplinktest.Masked(uplinktest.Cameras(12), 1, 1, half))
	b.await("the list is stored", stored)
	for id := fleet.CameraID(2); id <= 12; id++ {
		b.line.Show(picture(1, fleet.Instant(id), []fleet.MaskSum{0, sum(t, third)}[id%2]))
		b.line.Show(picture(13, fleet.Instant(id), 0)) // a camera that is not this agent's
		b.line.Show(picture(id, 10, 0))
		s := b.await("another camera is shown", func(s uplinktest.State) bool {
			return slices.ContainsFunc(s.Shown, func(m *wire.Thumbnail) bool { return m.GetCamera() == uint64(id) })
		})
		if i := slices.IndexFunc(s.Shown, func(m *wire.Thumbnail) bool { return m.GetCamera() == 1 || m.GetCamera() == 13 }); i >= 0 {
			t.Fatalf("%v", s.Shown[i])
		}
	}
}

// TestMaskThatIsMissing: orders and standing orders that ask for a mask which
// did not come are not taken before the list was asked for once more; without
// it, and where a mask cannot be read, nobody looks at the camera.
func TestMaskThatIsMissing(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.connect(nil)
	b.await("it is connected", connected)
	b.Push(uplinktest.Masked(uplinktest.Masked(uplinktest.Cameras(4), 1, 4, half), 2, 1, `{"circles":[]}`))
	in := uplinktest.Orders(orders(1)...)
	in.GetOrders().Masks = []*wire.MaskNeeded{{Camera: 1, Revision: 4}, {Camera: 3, Revision: 1}}
	b.Push(in)
	in = uplinktest.Standing(1, 1<<50, nil)
	in.GetStanding().Masks = []*wire.MaskNeeded{{Camera: 4, Revision: 2}}
	b.Push(in)
	s := b.await("instructions are stored", stored)
	if len(s.Hellos) != 2 {
		t.Errorf("it said hello %d times: want once more, for a list that brings what was lost", len(s.Hellos))
	}
	for camera, seen := range map[fleet.CameraID]bool{1: true, 2: false, 3: false, 4: false} {
		if m, err := b.store.Mask(camera); (err == nil) != seen || seen && m.Sum() != sum(t, half) {
			t.Errorf("camera %d: %v, %v", camera, m, err)
		}
	}
	b.Push(uplinktest.Masked(uplinktest.Cameras(4), 3, 1, half))
	b.await("the list is stored", stored)
	for camera, want := range map[fleet.CameraID]fleet.MaskSum{1: 0, 2: 0, 3: sum(t, half), 4: 0} {
		if m, err := b.store.Mask(camera); err != nil || m.Sum() != want {
			t.Errorf("camera %d: %v, %v", camera, m, err)
		}
	}
}
