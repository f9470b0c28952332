package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

func hidden(share float64) *fleet.Mask {
	return &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: share, Height: 1}}}
}

var jpeg = []byte{0xff, 0xd8, 0xff, 0xd9}

// watcher is an agent that only listens, and says that it has taken what it was
// told unless it is deaf.
type watcher struct {
	mu     sync.Mutex
	list   *scheduler.CameraList
	masks  []scheduler.MaskNeeded // of orders and standing orders, in their order
	early  bool                   // something of a masked camera came before its mask
	orders map[fleet.CameraID]int
	deaf   bool
}

// watch connects an agent until the returned function is called.
func watch(t *testing.T, s *scheduler.Scheduler, id fleet.AgentID, able fleet.Able, w *watcher) func() {
	t.Helper()
	w.orders = map[fleet.CameraID]int{}
	ctx, cancel := context.WithCancel(context.Background())
	l := must[*scheduler.Link](t)(s.Connect(ctx, id, "box", "test"))
	if err := s.Can(ctx, l, able); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			in, err := l.Next(ctx)
			if err != nil {
				return
			}
			w.mu.Lock()
			if in.Cameras != nil {
				w.list = in.Cameras
			}
			needed := in.Masks
			if in.Standing != nil {
				needed = in.Standing.Masks
			}
			for _, m := range needed {
				w.masks = append(w.masks, m)
				w.early = w.early || w.list == nil || !slices.ContainsFunc(w.list.Cameras, func(c fleet.Target) bool { return c.Camera == m.Camera && c.Mask.Revision >= m.Revision })
			}
			for _, o := range in.Orders {
				w.orders[o.Camera]++
			}
			for _, o := range in.Recall {
				w.orders[o.Camera]--
			}
			deaf := w.deaf
			w.mu.Unlock()
			if !deaf {
				l.Stored(in.Nonce)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		s.Disconnect(context.Background(), l, true)
	}
}

func (w *watcher) camera(id fleet.CameraID) (fleet.Target, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		return fleet.Target{}, false
	}
	i := slices.IndexFunc(w.list.Cameras, func(c fleet.Target) bool { return c.Camera == id })
	if i < 0 {
		return fleet.Target{}, false
	}
	return w.list.Cameras[i], true
}

// TestMask: a mask is durable and with the site's agents when SetMask returns,
// rises in revision, takes the thumbnail of before with it, and survives a
// restart.
func TestMask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		apply(t, s, every("quick", 10*time.Second))
		a := enrol(t, s, "lab")
		ids := addCameras(t, s, "lab", 2)
		one := ids[0]
		var w watcher
		leave := watch(t, s, a.ID, fleet.Able{Masks: true}, &w)
		time.Sleep(time.Second)
		put := func(at fleet.Instant, mask fleet.MaskSum) {
			t.Helper()
			if err := s.PutThumbnail(t.Context(), a.ID, one, at, mask, jpeg); err != nil {
				t.Fatal(err)
			}
		}
		shown := func(want fleet.Instant) {
			t.Helper()
			_, at, err := s.Thumbnail(t.Context(), one)
			v := must[scheduler.CameraView](t)(s.Camera(t.Context(), one))
			if errors.Is(err, scheduler.ErrNotFound) != (want == 0) || at != want || v.LastFrame != want {
				t.Errorf("the thumbnail is of %d, and the camera tells of %d: %v; want %d", at, v.LastFrame, err, want)
			}
		}
		put(10, 0)
		shown(10)
		before := must[scheduler.CameraView](t)(s.Camera(t.Context(), one))

		v := must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5), By: "ann"}))
		if v.Revision != 1 || v.By != "ann" || v.Sum != hidden(0.5).Sum() || len(v.Agents) != 1 || v.Agents[0] != (scheduler.MaskHolder{Agent: a.ID, State: scheduler.MaskHeld}) {
			t.Errorf("%+v", v)
		}
		if c, ok := w.camera(one); !ok || c.Mask.Revision != 1 || c.Mask.Sum() != v.Sum {
			t.Errorf("the agent was told %+v", c.Mask)
		}
		shown(0)
		put(11, 0) // was on its way
		shown(0)
		put(12, v.Sum)
		shown(12)
		view := must[scheduler.CameraView](t)(s.Camera(t.Context(), one))
		if view.Version == before.Version || view.Mask == nil || *view.Mask != (scheduler.MaskBrief{Revision: 1, Shapes: 1, Since: v.At, Sum: v.Sum}) {
			t.Errorf("version %d, then %d with %+v", before.Version, view.Version, view.Mask)
		}

		again := must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5), By: "bob"}))
		if again.Revision != 1 || again.By != "ann" {
			t.Errorf("what is set was set again: %+v", again)
		}
		shown(12)
		if _, err := s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.25), IfRevision: new(uint64(2))}); !errors.Is(err, scheduler.ErrConflict) {
			t.Errorf("another revision than it has: %v", err)
		}
		v = must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.25), By: "bob", IfRevision: new(uint64(1))}))
		if v.Revision != 2 {
			t.Errorf("%+v", v)
		}
		shown(0)
		time.Sleep(45 * time.Second) // orders and standing orders come
		w.mu.Lock()
		if w.early || len(w.masks) < 3 || w.masks[len(w.masks)-1] != (scheduler.MaskNeeded{Camera: one, Revision: 2}) {
			t.Errorf("masks that were asked for: %v; too early: %v", w.masks, w.early)
		}
		w.mu.Unlock()

		put(13, v.Sum)
		leave()
		stop()
		s, _ = open(t, dir)
		shown(13)
		got := must[scheduler.MaskView](t)(s.Mask(t.Context(), one))
		if got.Revision != 2 || got.By != "bob" || got.Sum != v.Sum || got.At != v.At || got.Agents[0].State != scheduler.MaskAway {
			t.Errorf("after a restart: %+v", got)
		}
		w = watcher{}
		defer watch(t, s, a.ID, fleet.Able{Masks: true}, &w)()
		time.Sleep(time.Second)
		got = must[scheduler.MaskView](t)(s.Mask(t.Context(), one))
		if c, ok := w.camera(one); !ok || c.Mask.Revision != 2 || got.Agents[0].State != scheduler.MaskHeld {
			t.Errorf("after a restart the agent was told %+v, %+v", c.Mask, got)
		}
		v = must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, By: "ann"}))
		if c, _ := w.camera(one); v.Revision != 3 || !v.Empty() || c.Mask.Revision != 0 {
			t.Errorf("the mask was taken off: %+v, the agent has %+v", v, c.Mask)
		}
		put(14, got.Sum)
		shown(0)
		put(15, 0)
		shown(15)
		if view := must[scheduler.CameraView](t)(s.Camera(t.Context(), one)); view.Mask != nil {
			t.Errorf("%+v", view.Mask)
		}
		if v := must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5)})); v.Revision != 4 {
			t.Errorf("a mask after none has revision %d", v.Revision)
		}
	})
}

func TestMaskRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		defer stop()
		one := addCameras(t, s, "lab", 1)[0]
		invalid, ok := errors.AsType[*scheduler.InvalidError](func() error {
			_, err := s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(1.5)})
			return err
		}())
		if !ok || invalid.Field != "mask" || !strings.Contains(invalid.Problem, "rectangle 0") {
			t.Errorf("%+v", invalid)
		}
		if _, err := s.SetMask(t.Context(), scheduler.NewMask{Camera: 5, Mask: hidden(0.5)}); !errors.Is(err, scheduler.ErrNotFound) {
			t.Errorf("an unknown camera: %v", err)
		}
		if _, err := s.Mask(t.Context(), 5); !errors.Is(err, scheduler.ErrNotFound) {
			t.Errorf("an unknown camera: %v", err)
		}
		well := failing(t, dir, "masks")
		if _, err := s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5)}); err == nil {
			t.Error("a mask that is not durable is taken")
		}
		well()
		if v := must[scheduler.MaskView](t)(s.Mask(t.Context(), one)); v.Revision != 0 || !v.Empty() {
			t.Errorf("%+v", v)
		}
	})
}

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
			if c.Camera == ids[0] && c.Cause == fleet.CauseAgentLost && strings.Contains(c.Detail, "privacy mask") {
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
// away knows that the agent hides what it should, and leaves it its orders.
func TestMaskedStaysHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		apply(t, s, every("quick", 10*time.Second))
		a := enrol(t, s, "lab")
		one := addCameras(t, s, "lab", 1)[0]
		var w watcher
		leave := watch(t, s, a.ID, fleet.Able{Masks: true}, &w)
		time.Sleep(time.Second)
		must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5)}))
		time.Sleep(5 * time.Second)
		leave()
		stop()
		s, stop = open(t, dir)
		defer stop()
		time.Sleep(time.Minute)
		for _, c := range allCaptures(t, s) {
			if c.Cause == fleet.CauseAgentLost {
				t.Fatalf("its orders were taken from it: %+v", c)
			}
		}
		if b := books(t, s); b.InFlight < 5 {
			t.Errorf("%+v", b)
		}
	})
}
