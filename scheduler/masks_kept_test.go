package scheduler_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// TestMaskIsInherited: of two cameras that are found to be one, what was hidden
// of the one that goes stays hidden of the one that stays, beside what was hidden
// of that.
func TestMaskIsInherited(t *testing.T) {
	for name, c := range map[string]struct {
		stays, goes float64
		want        *fleet.Mask
	}{
		"handed on":  {0, 0.5, hidden(0.5)},
		"both":       {0.25, 0.5, hidden(0.25).Join(hidden(0.5))},
		"one twice":  {0.5, 0.5, hidden(0.5)},
		"never any":  {0, 0, nil},
		"nothing on": {0.25, 0, hidden(0.25)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s, stop := open(t, dir)
				l := lan{t, s, enrol(t, s, "lab").ID}
				_, _, both := l.rivals()
				id, rival := both[keyOne].ID, both[keyTwo].ID
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
				if there := inFiles(t, dir); there != (c.want.Sum() == before.Sum()) {
					t.Errorf("the thumbnail under the mask of before is in the files: %v", there)
				}
				want := c.want.Sum()
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

// seen gives a camera a thumbnail that says so, under a mask.
func seen(t *testing.T, s *scheduler.Scheduler, id fleet.CameraID, m *fleet.Mask) {
	t.Helper()
	c := must[scheduler.CameraView](t)(s.Camera(t.Context(), id))
	agents := must[[]fleet.Agent](t)(s.Agents(t.Context()))
	i := slices.IndexFunc(agents, func(a fleet.Agent) bool { return a.Site == c.Site })
	if err := s.PutThumbnail(t.Context(), agents[i].ID, id, fleet.At(time.Now()), m.Sum(), slices.Concat(jpeg, []byte(secret))); err != nil {
		t.Fatal(err)
	}
}

const secret = "what nobody must see"

// inFiles says whether a thumbnail of seen is in the files of the store.
func inFiles(t *testing.T, dir string) bool {
	t.Helper()
	files := must[[]string](t)(filepath.Glob(filepath.Join(dir, "thumbnails.db*")))
	if len(files) == 0 {
		t.Fatal("there are no files")
	}
	return slices.ContainsFunc(files, func(f string) bool { return bytes.Contains(must[[]byte](t)(os.ReadFile(f)), []byte(secret)) })
}

// TestNothingIsKeptBehindTheWiping: a thumbnail that passed the door just before
// its camera's mask changed is not in the files behind SetMask, and one that a
// power cut left there is not behind a start.
func TestNothingIsKeptBehindTheWiping(t *testing.T) {
	dir := t.TempDir()
	s, stop := open(t, dir)
	enrol(t, s, "lab")
	id := addCameras(t, s, "lab", 1)[0]
	for range 10 {
		must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: id}))
		var wg sync.WaitGroup
		begun, masked := make(chan struct{}), make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for n := 0; ; n++ {
					seen(t, s, id, nil)
					if n == 0 {
						begun <- struct{}{}
					}
					select {
					case <-masked:
						return
					default:
					}
				}
			})
		}
		for range 4 {
			<-begun
		}
		must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: id, Mask: hidden(0.5)}))
		close(masked)
		wg.Wait()
		if inFiles(t, dir) {
			t.Fatal("a thumbnail without the mask is in the files")
		}
	}
	// One from before the mask that comes now is not taken for its age.
	agents := must[[]fleet.Agent](t)(s.Agents(t.Context()))
	if err := s.PutThumbnail(t.Context(), agents[0].ID, id, 1, 0, slices.Concat(jpeg, []byte(secret))); err != nil {
		t.Fatal(err)
	}
	if inFiles(t, dir) {
		t.Error("an old thumbnail without the mask is in the files")
	}
	stop()
	st, _, err := store.Open(t.Context(), dir)
	if err == nil {
		err = errors.Join(st.PutThumbnail(t.Context(), id, 1<<45, 0, []byte(secret)), st.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if !inFiles(t, dir) {
		t.Fatal("the thumbnail is not in the files")
	}
	s, stop = open(t, dir)
	defer stop()
	if c := must[scheduler.CameraView](t)(s.Camera(t.Context(), id)); inFiles(t, dir) || c.LastFrame != 0 {
		t.Errorf("a thumbnail that a power cut has left: in the files %v, %v", inFiles(t, dir), c.LastFrame)
	}
}

// TestRulesLeaveWhatMayBeMasked: what a device with a masked camera shows under
// another source's name, as after an update of its firmware, may be what was
// hidden: rules do not approve it, and an operator may.
func TestRulesLeaveWhatMayBeMasked(t *testing.T) {
	for _, masked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, stop := open(t, t.TempDir())
			defer stop()
			rules := map[string]string{"all": "*"}
			if err := s.SetRules(t.Context(), rules); err != nil {
				t.Fatal(err)
			}
			l := lan{t, s, enrol(t, s, "lab").ID}
			tell := func(tokens ...string) map[string]scheduler.CameraView {
				d := deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01")
				profiles := d.Sources[0].Profiles
				d.Sources = nil
				for _, token := range tokens {
					d.Sources = append(d.Sources, fleet.Source{Token: token, Profiles: profiles})
				}
				if err := s.Inventory(t.Context(), l.a, []fleet.Device{d}); err != nil {
					t.Fatal(err)
				}
				out := map[string]scheduler.CameraView{}
				for _, v := range must[[]scheduler.CameraView](t)(s.Cameras(t.Context(), scheduler.CameraQuery{})) {
					out[v.Source] = v
				}
				return out
			}
			one := tell("one")["one"]
			if one.State != fleet.Approved {
				t.Fatalf("%+v", one)
			}
			if masked {
				must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one.ID, Mask: hidden(0.5)}))
			}
			want := fleet.Approved
			if masked {
				want = fleet.Pending
			}
			tell("renamed")
			tell() // it does not describe itself now
			if err := s.SetRules(t.Context(), rules); err != nil {
				t.Fatal(err)
			}
			all := tell("one", "renamed")
			for token, c := range all {
				if w := want; c.State != w && token != "one" || token == "one" && c.State != fleet.Approved {
					t.Errorf("masked %v: source %q is %v, want %v", masked, token, c.State, w)
				}
			}
			if len(all) < 2 {
				t.Fatalf("%+v", all)
			}
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{all["renamed"].ID}, fleet.Approved))
			if c := must[scheduler.CameraView](t)(s.Camera(t.Context(), all["renamed"].ID)); c.State != fleet.Approved {
				t.Errorf("an operator may: %v", c.State)
			}
		})
	}
}
