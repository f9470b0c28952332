package scheduler_test

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestMaskFold: whatever is set, taken off and refused, what a restart finds is
// what was answered last.
func TestMaskFold(t *testing.T) {
	dirs, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		dir := filepath.Join(dirs, strconv.Itoa(n))
		openOne := func() *scheduler.Scheduler {
			s, err := scheduler.New(t.Context(), dir, scheduler.Options{SealKey: [32]byte{1}})
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := openOne()
		defer func() { _ = s.Close() }()
		type state struct {
			revision uint64
			share    float64
		}
		model := map[fleet.CameraID]state{}
		var ids []fleet.CameraID
		for _, url := range []string{"http://192.0.2.1/a.jpg", "http://192.0.2.1/b.jpg"} {
			v, err := s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: url})
			if err != nil {
				rt.Fatal(err)
			}
			ids = append(ids, v.ID)
		}
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			id := rapid.SampledFrom(ids).Draw(rt, "camera")
			m := model[id]
			switch share := rapid.SampledFrom([]float64{-1, 0, 0.25, 0.5, 2}).Draw(rt, "share"); {
			case share < 0:
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = openOne()
			default:
				n := scheduler.NewMask{Camera: id, By: "ann"}
				if v := rapid.IntRange(-3, 2).Draw(rt, "if"); v >= 0 {
					n.IfRevision = new(uint64(v))
				}
				if share > 0 {
					n.Mask = hidden(share)
				}
				v, err := s.SetMask(t.Context(), n)
				refused := share > 1 || n.IfRevision != nil && *n.IfRevision != m.revision
				if (err != nil) != refused {
					rt.Fatalf("%+v over %+v: %v", n, m, err)
				}
				if err == nil && share != m.share {
					m = state{m.revision + 1, share}
					model[id] = m
				}
				if err == nil && v.Revision != m.revision {
					rt.Fatalf("%+v, want %+v", v, m)
				}
			}
			for _, id := range ids {
				v, err := s.Mask(t.Context(), id)
				m := model[id]
				want := fleet.MaskSum(0)
				if m.share > 0 {
					want = hidden(m.share).Sum()
				}
				if text, _ := json.Marshal(v.Mask); err != nil || v.Revision != m.revision || v.Sum != want || v.Mask.Sum() != want {
					rt.Fatalf("camera %s has %+v (%s), want %+v: %v", id, v, text, m, err)
				}
			}
		}
	})
}

// TestMaskIsInherited: of two cameras that are found to be one, what was hidden
// of the one that goes stays hidden of the one that stays, unless that has a
// mask of its own.
func TestMaskIsInherited(t *testing.T) {
	for name, c := range map[string]struct{ stays, goes, want float64 }{
		"handed on":  {0, 0.5, 0.5},
		"its own":    {0.25, 0.5, 0.25},
		"never any":  {0, 0, 0},
		"nothing on": {0.25, 0, 0.25},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s, stop := open(t, dir)
				l := lan{t, s, enrol(t, s, "lab").ID}
				one, two := deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01"), deviceAt(keyTwo, "192.0.2.2", "ac:cc:8e:00:00:02")
				id := l.tell(one)[keyOne].ID
				must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Approved))
				x, y := contradict(one, two)
				rival := l.tell(x, y)[keyTwo].ID
				for camera, share := range map[fleet.CameraID]float64{id: c.stays, rival: c.goes} {
					if share > 0 {
						must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: camera, Mask: hidden(share), By: "ann"}))
					}
				}
				before := (*fleet.Mask)(nil)
				if c.stays > 0 {
					before = hidden(c.stays)
				}
				seen(t, s, id, before)
				must[scheduler.CameraView](t)(s.Resolve(t.Context(), id, scheduler.Resolution{Same: true, By: "bob"}))
				if there := inFiles(t, dir); there != (c.want == c.stays) {
					t.Errorf("the thumbnail under the mask of before is in the files: %v", there)
				}
				want := fleet.MaskSum(0)
				if c.want > 0 {
					want = hidden(c.want).Sum()
				}
				if v := must[scheduler.MaskView](t)(s.Mask(t.Context(), id)); v.Sum != want {
					t.Errorf("%+v, want %s", v, want)
				}
				stop()
				s, stop = open(t, dir)
				defer stop()
				if v := must[scheduler.MaskView](t)(s.Mask(t.Context(), id)); v.Sum != want {
					t.Errorf("after a restart: %+v, want %s", v, want)
				}
			})
		})
	}
}
