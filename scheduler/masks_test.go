package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

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
	stands *scheduler.Standing
	told   []fleet.Order
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
			w.told = append(w.told, in.Orders...)
			if in.Standing != nil {
				w.stands = in.Standing
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
