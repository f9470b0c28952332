package scheduler_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestMaskAndAgents: an agent that knows no masks is given no masked camera, and
// loses what it was given before; one that does not answer is waited for, and
// told of.
func TestMaskAndAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		spec := every("slow", 30*time.Second)
		spec.Lead = spec.Every
		apply(t, s, spec)
		old, able := enrol(t, s, "lab"), enrol(t, s, "lab")
		ids := addCameras(t, s, "lab", 8)
		var ow, aw watcher
		defer watch(t, s, old.ID, fleet.Able{}, &ow)()
		time.Sleep(time.Minute)
		ow.mu.Lock()
		had := ow.orders[ids[0]]
		ow.mu.Unlock()
		if had == 0 {
			t.Fatal("the old agent has no order for the camera before it is masked")
		}
		began := time.Now()
		v := must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: ids[0], Mask: hidden(0.5)}))
		if v.Agents[slices.IndexFunc(v.Agents, func(h scheduler.MaskHolder) bool { return h.Agent == old.ID })].State != scheduler.MaskOutdated || time.Since(began) > time.Second {
			t.Errorf("%+v after %v", v.Agents, time.Since(began))
		}
		time.Sleep(time.Minute)
		if _, ok := ow.camera(ids[0]); ok {
			t.Error("an agent that knows no masks has the masked camera on its list")
		}
		if _, ok := ow.camera(ids[1]); !ok {
			t.Error("it has not the others")
		}
		lost := 0
		for _, c := range allCaptures(t, s) {
			if c.Camera == ids[0] && c.Cause == fleet.CauseMask && strings.Contains(c.Detail, "privacy mask") {
				lost++
			}
		}
		if lost == 0 {
			t.Error("nobody says why the masked camera gives no picture")
		}

		defer watch(t, s, able.ID, fleet.Able{Masks: true}, &aw)()
		time.Sleep(time.Minute)
		ow.mu.Lock()
		aw.mu.Lock()
		if ow.orders[ids[0]] > 0 && ow.orders[ids[0]] >= had+1 || aw.orders[ids[0]] == 0 {
			t.Errorf("orders of the masked camera: old agent %d, %d before; able agent %d", ow.orders[ids[0]], had, aw.orders[ids[0]])
		}
		aw.deaf = true
		ow.mu.Unlock()
		aw.mu.Unlock()
		began = time.Now()
		v = must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: ids[1], Mask: hidden(0.5)}))
		if i := slices.IndexFunc(v.Agents, func(h scheduler.MaskHolder) bool { return h.Agent == able.ID }); v.Agents[i].State != scheduler.MaskPending || time.Since(began) != 10*time.Second {
			t.Errorf("%+v after %v", v.Agents, time.Since(began))
		}
	})
}

// TestMaskedStaysHeld: a centre that restarts while a masked camera's agent is
// away knows that the agent hides what it should, and leaves it its orders; so it
// does when its power was cut while the agent was there.
func TestMaskedStaysHeld(t *testing.T) {
	for _, cut := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			s, stop := open(t, dir)
			apply(t, s, every("quick", 10*time.Second))
			a := enrol(t, s, "lab")
			one := addCameras(t, s, "lab", 1)[0]
			var w watcher
			leave := watch(t, s, a.ID, fleet.Able{}, &w)
			time.Sleep(time.Second)
			leave() // and it is updated
			leave = watch(t, s, a.ID, fleet.Able{Masks: true}, &w)
			time.Sleep(time.Second)
			must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5)}))
			time.Sleep(5 * time.Second)
			after := dir
			if cut {
				after = filepath.Join(t.TempDir(), "after")
				if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
			}
			leave()
			stop()
			s, stop = open(t, after)
			defer stop()
			time.Sleep(time.Minute)
			for _, c := range allCaptures(t, s) {
				if c.Cause == fleet.CauseAgentLost {
					t.Fatalf("cut %v: its orders were taken from it: %+v", cut, c)
				}
			}
			if b := books(t, s); b.InFlight < 5 {
				t.Errorf("cut %v: %+v", cut, b)
			}
		})
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
		ids := addCameras(t, s, "lab", 24) // each able agent has some of as many
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
