package scheduler_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestMaskOfSources: when two devices are joined, what was hidden of a source
// stays hidden of it; where the device that stays calls its sources otherwise,
// the mask goes to the only one there is, and else an operator says where it
// belongs before they are joined.
func TestMaskOfSources(t *testing.T) {
	type masks map[string]float64 // by source: how much is hidden
	for name, c := range map[string]struct {
		stays, goes []string // sources
		own, other  masks
		want        masks // of those that stay; nil when it is refused
	}{
		"the same source":                {[]string{"a", "b"}, []string{"a"}, nil, masks{"a": 0.5}, masks{"a": 0.5, "b": 0}},
		"each its own":                   {[]string{"a", "b"}, []string{"b", "a"}, nil, masks{"a": 0.5, "b": 0.25}, masks{"a": 0.5, "b": 0.25}},
		"one that has another name":      {[]string{"a"}, []string{"b"}, nil, masks{"b": 0.5}, masks{"a": 0.5}},
		"one that had no name":           {[]string{"a"}, []string{""}, nil, masks{"": 0.5}, masks{"a": 0.5}},
		"one of two":                     {[]string{"a", "b"}, []string{"c"}, nil, masks{"c": 0.5}, nil},
		"one of two, and one has a mask": {[]string{"a", "b"}, []string{"c"}, masks{"b": 0.5}, masks{"c": 0.5}, nil},
		"an operator has said":           {[]string{"a", "b"}, []string{"c"}, masks{"a": 0.25, "b": 0.5}, masks{"c": 0.5}, masks{"a": 0.25, "b": 0.5}},
		"two of which one is missing":    {[]string{"a"}, []string{"a", "b"}, nil, masks{"a": 0.25, "b": 0.5}, masks{"a": 0.25}},
		"two and only the other":         {[]string{"a"}, []string{"a", "b"}, nil, masks{"b": 0.5}, masks{"a": 0}},
		"one is known, one is not":       {[]string{"a", "c"}, []string{"a", "b"}, nil, masks{"a": 0.5, "b": 0.5}, nil},
		"nothing is hidden":              {[]string{"a", "b"}, []string{"c"}, masks{"a": 0.5}, nil, masks{"a": 0.5, "b": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, stop := open(t, t.TempDir())
				defer stop()
				l := lan{t, s, enrol(t, s, "lab").ID}
				one, two := deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01"), deviceAt(keyTwo, "192.0.2.2", "ac:cc:8e:00:00:02")
				profiles := one.Sources[0].Profiles
				named := func(tokens []string) (out []fleet.Source) {
					for _, token := range tokens {
						out = append(out, fleet.Source{Token: token, Profiles: profiles})
					}
					return out
				}
				one.Sources, two.Sources = named(c.stays), named(c.goes)
				id := func(device, source string) fleet.CameraID {
					for _, v := range must[[]scheduler.CameraView](t)(s.Cameras(t.Context(), scheduler.CameraQuery{})) {
						if v.Device == device && v.Source == source {
							return v.ID
						}
					}
					t.Fatalf("no camera of %s %q", device, source)
					return 0
				}
				l.tell(one)
				for _, token := range c.stays {
					must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{id(keyOne, token)}, fleet.Approved))
				}
				x, y := contradict(one, two)
				l.tell(x, y)
				for device, all := range map[string]masks{keyOne: c.own, keyTwo: c.other} {
					for token, share := range all {
						must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: id(device, token), Mask: hidden(share)}))
					}
				}
				join := func() error {
					_, err := s.Resolve(t.Context(), id(keyOne, c.stays[0]), scheduler.Resolution{Same: true, By: "bob"})
					return err
				}
				err := join()
				if c.want == nil {
					bad, ok := errors.AsType[*scheduler.InvalidError](err)
					if !ok || bad.Field != "same" || !strings.Contains(bad.Problem, "cameras mask cam-") {
						t.Fatalf("joined, or no word of what to do: %v", err)
					}
					if all := must[[]scheduler.ConflictView](t)(s.Conflicts(t.Context(), "")); len(all) == 0 {
						t.Error("refused, and the conflict is gone")
					}
					// What the error says helps.
					for token := range c.other {
						must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: id(keyTwo, token)}))
					}
					if err := join(); err != nil {
						t.Errorf("the mask was taken off: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				for token, share := range c.want {
					want := fleet.MaskSum(0)
					if share > 0 {
						want = hidden(share).Sum()
					}
					if v := must[scheduler.MaskView](t)(s.Mask(t.Context(), id(keyOne, token))); v.Sum != want {
						t.Errorf("source %q has the mask %+v, want %v of it hidden", token, v.Mask, share)
					}
				}
			})
		})
	}
}

// TestMasksTooManyToJoin: what one camera cannot have is refused, with both as
// they were.
func TestMasksTooManyToJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		l := lan{t, s, enrol(t, s, "lab").ID}
		_, _, both := l.rivals()
		id, rival := both[keyOne].ID, both[keyTwo].ID
		sums := map[fleet.CameraID]fleet.MaskSum{}
		for i, camera := range []fleet.CameraID{id, rival} {
			m := &fleet.Mask{}
			for k := range 40 {
				m.Rectangles = append(m.Rectangles, fleet.Rectangle{X: float64(k) / 50, Y: float64(i) / 2, Width: 0.01, Height: 0.25})
			}
			sums[camera] = must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: camera, Mask: m})).Sum
		}
		_, err := s.Resolve(t.Context(), id, scheduler.Resolution{Same: true})
		if bad, ok := errors.AsType[*scheduler.InvalidError](err); !ok || bad.Field != "same" {
			t.Errorf("80 shapes: %v", err)
		}
		for camera, sum := range sums {
			if v := must[scheduler.MaskView](t)(s.Mask(t.Context(), camera)); v.Sum != sum || v.Revision != 1 {
				t.Errorf("%+v", v)
			}
		}
	})
}
