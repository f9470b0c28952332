package scheduler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
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
	"github.com/shutterfleet/shutterfleet/scheduler/store"
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
