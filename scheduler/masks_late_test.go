package scheduler_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// frame is what is read of a frame with that much hidden: a hash that finds
// itself, and all else that a reading has.
func frame(hidden fleet.MaskSum) fleet.Reading {
	return fleet.Reading{Width: 640, Height: 360, Codec: fleet.JPEG, Bytes: 9, SHA256: [32]byte{1}, Quality: fleet.Quality{Mean: 99},
		Fingerprint: fleet.Fingerprint{PDQ: fleet.PDQ{1, 2, 3}, PDQQuality: 99, PHash: 77, Rules: fleet.RulesFirst, Mask: hidden}}
}

// of returns the orders of one camera that came, by their time.
func (w *watcher) of(id fleet.CameraID) (out []fleet.Order) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.told {
		if o.Camera == id && !slices.ContainsFunc(out, func(v fleet.Order) bool { return v.Occurrence == o.Occurrence }) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b fleet.Order) int { return int(a.Nominal - b.Nominal) })
	return out
}

// TestPicturesOfTheTime: pictures that come late are held against the mask of
// the moment at which they were taken. What an agent took that knows no masks, or
// was away when one was set, is accounted as mask-missing and nothing of it is
// kept; what was taken before the mask stays what it is.
func TestPicturesOfTheTime(t *testing.T) {
	half, third := hidden(0.5), hidden(0.3)
	type step struct {
		mask *fleet.Mask // set now
		off  bool        // taken off now
		took *fleet.Mask // the agent takes the next picture, with this much hidden
		kept bool
	}
	for name, c := range map[string]struct {
		able    bool
		restart bool          // of the centre, before the pictures come
		bound   time.Duration // of the agent's clock
		steps   []step
	}{
		"an agent that knows no masks":           {steps: []step{{kept: true}, {mask: half}, {}, {}}},
		"and a restart of the centre":            {restart: true, steps: []step{{kept: true}, {mask: half}, {}, {}}},
		"the mask is off when they come":         {steps: []step{{kept: true}, {mask: half}, {}, {off: true}, {kept: true}}},
		"off and a restart":                      {restart: true, steps: []step{{mask: half}, {}, {off: true}, {kept: true}}},
		"another mask was set meanwhile":         {able: true, steps: []step{{mask: half}, {took: half, kept: true}, {mask: third}, {took: half}, {took: third, kept: true}}},
		"set again":                              {able: true, restart: true, steps: []step{{mask: half}, {took: half, kept: true}, {mask: third}, {mask: half}, {took: third}, {took: half, kept: true}, {}}},
		"more is hidden than has to be":          {able: true, steps: []step{{mask: half}, {off: true}, {took: half, kept: true}}},
		"a clock that may be wrong by a minute":  {bound: time.Minute, steps: []step{{}, {mask: half}, {}}},
		"a clock that may be fast":               {bound: time.Minute, steps: []step{{mask: half}, {off: true}, {}}},
		"a clock that nobody compared":           {bound: 24 * time.Hour, steps: []step{{mask: half}, {}}},
		"and by so much that it overflows":       {bound: 1<<63 - 1, steps: []step{{}, {mask: half}, {}}},
		"an able agent that lost its mask":       {able: true, steps: []step{{mask: half}, {}, {took: half, kept: true}}},
		"an able agent with a mask of its own":   {able: true, steps: []step{{mask: half}, {took: third}}},
		"a mask that the camera never had, free": {able: true, steps: []step{{took: third, kept: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s, stop := open(t, dir)
				defer func() { stop() }()
				spec := every("slow", 10*time.Second)
				spec.Lead = spec.Every * 12
				spec.Deadline = spec.Every * 12
				apply(t, s, spec)
				a := enrol(t, s, "lab")
				one := addCameras(t, s, "lab", 1)[0]
				var w watcher
				leave := watch(t, s, a.ID, fleet.Able{Masks: c.able}, &w)
				time.Sleep(2 * time.Second)
				orders := w.of(one)
				if len(orders) < 6 {
					t.Fatalf("%d orders", len(orders))
				}
				leave() // it goes on by its standing orders
				want := map[fleet.Instant]bool{}
				var late []fleet.Capture
				for _, v := range c.steps {
					if v.mask != nil || v.off {
						time.Sleep(time.Second)
						must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: v.mask}))
						continue
					}
					o := orders[0]
					orders = orders[1:]
					time.Sleep(time.Until(o.Nominal.Time()))
					at := fleet.At(time.Now())
					late = append(late, fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Captured, At: at, Bound: c.bound, Attempts: 1, Protocol: fleet.Snapshot, Reading: frame(v.took.Sum())})
					want[o.Nominal] = v.kept
				}
				if c.restart {
					stop()
					s, stop = open(t, dir)
				}
				defer watch(t, s, a.ID, fleet.Able{Masks: c.able}, &w)()
				if err := s.Complete(t.Context(), a.ID, late); err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, v := range allCaptures(t, s) {
					kept, ok := want[v.Nominal]
					if !ok {
						continue
					}
					n++
					switch {
					case kept && (v.Outcome != fleet.Captured || v.Reading.Fingerprint.PHash != 77):
						t.Errorf("the picture of %s is lost: %s(%s) %q", v.Nominal, v.Outcome, v.Cause, v.Detail)
					case !kept && (v.Outcome == fleet.Captured || v.Cause != fleet.CauseMask || v.Detail == "" || v.Reading.SHA256 != [32]byte{} || v.Reading.Fingerprint != (fleet.Fingerprint{}) || v.Reading.Quality != (fleet.Quality{})):
						t.Errorf("the picture of %s is kept: %s(%s) at %s %q, %+v", v.Nominal, v.Outcome, v.Cause, v.At, v.Detail, v.Reading.Fingerprint)
					}
				}
				if n != len(want) {
					t.Errorf("%d pictures are in the books, want %d", n, len(want))
				}
				for _, m := range []*fleet.Mask{nil, half, third} {
					found := must[[]scheduler.Match](t)(s.Match(t.Context(), frame(m.Sum()).Fingerprint, scheduler.MatchOptions{}))
					for _, f := range found {
						if !want[f.Occurrence.Nominal] {
							t.Errorf("the picture of %s is found", f.Occurrence.Nominal)
						}
					}
				}
				sound(t, s)
			})
		})
	}
}

// TestOutdatedAgentIsKeptOut: with an agent that can, the one that knows no masks
// has nothing to do with a masked camera from the moment the mask is set, and
// what it took all the same does not take the place of the other's picture.
func TestOutdatedAgentIsKeptOut(t *testing.T) {
	for _, connected := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, stop := open(t, t.TempDir())
			defer stop()
			spec := every("slow", 10*time.Second)
			spec.Lead = spec.Every * 6
			spec.Deadline = spec.Every
			apply(t, s, spec)
			old, able := enrol(t, s, "lab"), enrol(t, s, "lab")
			ids := addCameras(t, s, "lab", 2)
			one := ids[0]
			var ow, aw watcher
			leave := watch(t, s, old.ID, fleet.Able{}, &ow)
			time.Sleep(2 * time.Second)
			orders := ow.of(one)
			if len(orders) < 4 || len(ow.stands.Tasks) != 2 {
				t.Fatalf("%d orders, standing %+v", len(orders), ow.stands)
			}
			if !connected {
				leave()
			} else {
				defer leave()
			}
			defer watch(t, s, able.ID, fleet.Able{Masks: true}, &aw)()
			time.Sleep(time.Until(orders[0].Nominal.Time()))
			before := fleet.At(time.Now()) // a picture from before the mask
			time.Sleep(time.Second)
			must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5)}))
			time.Sleep(time.Second)
			if !connected {
				defer watch(t, s, old.ID, fleet.Able{}, &ow)()
				time.Sleep(time.Second)
			}
			ow.mu.Lock()
			if slices.ContainsFunc(ow.stands.Tasks, func(v scheduler.StandingTask) bool { return v.Camera == one }) {
				t.Errorf("connected %v: its standing orders are %+v", connected, ow.stands)
			}
			ow.mu.Unlock()
			if _, ok := ow.camera(one); ok {
				t.Errorf("connected %v: the masked camera is on its list", connected)
			}
			report := func(a fleet.Agent, o fleet.Order, at fleet.Instant, sum fleet.MaskSum) {
				t.Helper()
				v := fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Captured, At: at, Attempts: 1, Protocol: fleet.Snapshot, Reading: frame(sum)}
				if err := s.Complete(t.Context(), a.ID, []fleet.Capture{v}); err != nil {
					t.Fatal(err)
				}
			}
			report(old, orders[0], before, 0)
			time.Sleep(time.Until(orders[1].Nominal.Time()))
			now := fleet.At(time.Now())
			report(old, orders[1], now, 0) // it has not heard, or does not care
			if books(t, s).Failed != 0 {
				t.Errorf("connected %v: its picture took the place of the other's", connected)
			}
			report(able, orders[1], now, hidden(0.5).Sum())
			// The thumbnail does not pass either, under the mask or behind it.
			if err := s.PutThumbnail(t.Context(), old.ID, one, now, 0, jpeg); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one}))
			if err := s.PutThumbnail(t.Context(), old.ID, one, now, 0, jpeg); err != nil {
				t.Fatal(err)
			}
			if b, at, err := s.Thumbnail(t.Context(), one); !errors.Is(err, scheduler.ErrNotFound) {
				t.Errorf("connected %v: the thumbnail of %s, %d bytes, %v", connected, at, len(b), err)
			}
			if err := s.PutThumbnail(t.Context(), old.ID, one, fleet.At(time.Now()), 0, jpeg); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Thumbnail(t.Context(), one); err != nil {
				t.Errorf("connected %v: a thumbnail of behind the mask: %v", connected, err)
			}
			got := map[fleet.Instant]fleet.AgentID{}
			for _, v := range allCaptures(t, s) {
				if v.Camera == one && v.Outcome == fleet.Captured {
					got[v.Nominal] = v.Agent
				}
			}
			if len(got) != 2 || got[orders[0].Nominal] != old.ID || got[orders[1].Nominal] != able.ID {
				t.Errorf("connected %v: captured %v", connected, got)
			}
			sound(t, s)
		})
	}
}

// TestPicturesFromBeforeTheMask: a mask takes from an agent that knows none the
// orders that others can still fulfil. Those that it alone can have fulfilled
// stay its own, however late it tells; the others say why they have no picture.
func TestPicturesFromBeforeTheMask(t *testing.T) {
	for _, connected := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, stop := open(t, t.TempDir())
			defer stop()
			spec := every("slow", 10*time.Second)
			spec.Lead, spec.Deadline = spec.Every*6, spec.Every
			apply(t, s, spec)
			a := enrol(t, s, "lab")
			one := addCameras(t, s, "lab", 1)[0]
			var w watcher
			leave := watch(t, s, a.ID, fleet.Able{}, &w)
			time.Sleep(time.Second)
			orders := w.of(one)
			if !connected {
				leave()
			} else {
				defer leave()
			}
			time.Sleep(time.Until(orders[0].Nominal.Time()))
			taken := fleet.At(time.Now())
			time.Sleep(5 * time.Second) // another agent's would be too late soon
			if connected {
				time.Sleep(time.Until(orders[0].Deadline.Time())) // it has much to tell, and is slow
				time.Sleep(time.Second)
			}
			must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5)}))
			time.Sleep(time.Minute)
			v := fleet.Capture{Occurrence: orders[0].Occurrence, Outcome: fleet.Captured, At: taken, Attempts: 1, Protocol: fleet.Snapshot, Reading: frame(0)}
			if err := s.Complete(t.Context(), a.ID, []fleet.Capture{v}); err != nil {
				t.Fatal(err)
			}
			kept, why := false, map[fleet.Cause]int{}
			for _, v := range allCaptures(t, s) {
				kept = kept || v.Occurrence == orders[0].Occurrence && v.Outcome == fleet.Captured
				why[v.Cause]++
			}
			if !kept || why[fleet.CauseMask] < 3 || len(why) != 2 {
				t.Errorf("connected %v: the picture from before the mask is kept: %v; causes: %v", connected, kept, why)
			}
			sound(t, s)
		})
	}
}

// TestNoHashAmongTheEvidence: that two devices show one scene is told without
// the hash of it, which knows no masks; older agents tell the hash.
func TestNoHashAmongTheEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		l := lan{t, s, enrol(t, s, "lab").ID}
		x, y := contradict(deviceAt(keyOne, "192.0.2.1", "ac:cc:8e:00:00:01"), deviceAt(keyTwo, "192.0.2.2", "ac:cc:8e:00:00:02"))
		x.Conflict.Rivals[0].Evidence = []fleet.Evidence{{Kind: string(fleet.ClaimScene), Value: "0123456789abcdef", Weight: 20}}
		y.Conflict.Rivals[0].Evidence = []fleet.Evidence{{Kind: string(fleet.ClaimScene), Value: "3 of 64 bits differ", Weight: 20}}
		l.tell(x, y)
		for range 2 {
			got := map[string]string{}
			for _, c := range must[[]scheduler.ConflictView](t)(s.Conflicts(t.Context(), "")) {
				got[c.Device] = c.Rivals[0].Evidence[0].Value
			}
			if got[keyOne] != "alike" || got[keyTwo] != "3 of 64 bits differ" {
				t.Errorf("%v", got)
			}
			stop()
			db := must[*sql.DB](t)(sql.Open("sqlite", filepath.Join(dir, "centre.db")))
			// As a centre kept it that did not know better.
			if _, err := db.ExecContext(t.Context(), `UPDATE disputes SET body = replace(body, '"alike"', '"0123456789abcdef"')`); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s, stop = open(t, dir)
		}
		stop()
	})
}
