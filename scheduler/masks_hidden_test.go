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

// TestMaskedAmongOldAgents: where few of a site's agents know masks, those get all
// orders of masked cameras; an agent that comes back with an older build loses
// those that it had, at once.
func TestMaskedAmongOldAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		spec := every("slow", 30*time.Second)
		spec.Lead = spec.Every
		apply(t, s, spec)
		ids := addCameras(t, s, "lab", 12)
		for _, id := range ids {
			must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: id, Mask: hidden(0.5)}))
		}
		ables := []fleet.Able{{}, {}, {Masks: true}, {Masks: true}}
		agents, watchers := make([]fleet.Agent, len(ables)), make([]*watcher, len(ables))
		var leave func()
		for i, able := range ables {
			agents[i], watchers[i] = enrol(t, s, "lab"), &watcher{}
			leave = sync.OnceFunc(watch(t, s, agents[i].ID, able, watchers[i]))
			defer leave()
		}
		time.Sleep(time.Minute)
		for _, w := range watchers { // until all were there, the first had them all
			w.mu.Lock()
			clear(w.orders)
			w.mu.Unlock()
		}
		time.Sleep(time.Minute)
		has := func(i int, id fleet.CameraID) bool {
			watchers[i].mu.Lock()
			defer watchers[i].mu.Unlock()
			return watchers[i].orders[id] > 0
		}
		lost := 0
		for _, id := range ids {
			if has(0, id) || has(1, id) || !has(2, id) && !has(3, id) {
				t.Errorf("orders of %s: old agents %v %v, able ones %v %v", id, has(0, id), has(1, id), has(2, id), has(3, id))
			}
			if !has(2, id) {
				lost++
			}
		}
		if lost == 0 || lost == len(ids) {
			t.Fatalf("one of the able agents has %d of %d cameras", lost, len(ids))
		}
		leave()
		watchers[3] = &watcher{}
		defer watch(t, s, agents[3].ID, fleet.Able{}, watchers[3])()
		time.Sleep(2 * time.Second)
		for _, id := range ids {
			if !has(2, id) || has(3, id) {
				t.Errorf("orders of %s: able agent %v, the one of an older build %v", id, has(2, id), has(3, id))
			}
			if _, ok := watchers[3].camera(id); ok {
				t.Errorf("the agent of an older build has %s on its list", id)
			}
		}
	})
}

// TestOlderBuildTakesThePlace: an agent that comes back alone with a build that
// knows no masks is told at once to leave the masked camera's orders that it has,
// and gets neither the camera nor others, over a restart of the centre, too.
func TestOlderBuildTakesThePlace(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			s, stop := open(t, dir)
			defer func() { stop() }()
			spec := every("slow", 30*time.Second)
			spec.Lead = spec.Every
			apply(t, s, spec)
			a := enrol(t, s, "lab")
			ids := addCameras(t, s, "lab", 2)
			must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: ids[0], Mask: hidden(0.5)}))
			var w watcher
			leave := watch(t, s, a.ID, fleet.Able{Masks: true}, &w)
			time.Sleep(time.Minute)
			leave()
			if w.orders[ids[0]] == 0 || w.orders[ids[1]] == 0 {
				t.Fatalf("orders before: %v", w.orders)
			}
			if restart {
				stop()
				s, stop = open(t, dir)
			}
			w = watcher{}
			defer watch(t, s, a.ID, fleet.Able{}, &w)()
			time.Sleep(time.Second)
			w.mu.Lock()
			if w.orders[ids[0]] >= 0 || w.orders[ids[1]] < 0 {
				t.Errorf("restart %v: orders that were taken back: %v", restart, w.orders)
			}
			w.mu.Unlock()
			time.Sleep(2 * time.Minute)
			w.mu.Lock()
			if w.orders[ids[0]] >= 0 || w.orders[ids[1]] == 0 {
				t.Errorf("restart %v: orders %v", restart, w.orders)
			}
			w.mu.Unlock()
			if _, ok := w.camera(ids[0]); ok {
				t.Errorf("restart %v: the masked camera is on its list", restart)
			}
			if _, ok := w.camera(ids[1]); !ok {
				t.Errorf("restart %v: the other is not", restart)
			}
		})
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
