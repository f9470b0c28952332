//go:build !race

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// These tests hold real agents to moments, which the race detector's tenfold
// slowness would break on a small machine: `make test` runs them without it. The
// packages they join are under it each.

// TestCutOff cuts an agent off for longer than its orders reach. It goes on by
// its standing orders, and when the line is back each occurrence of the cut is
// captured, and accounted once.
func TestCutOff(t *testing.T) {
	t.Parallel()
	const cameras, lead = 3, 2
	for name, cut := range map[string]func(h *house, pending func(int)){
		"the line": func(h *house, pending func(int)) {
			h.line.setCut(true)
			pending(cameras * (lead + 4))
			h.line.setCut(false)
		},
		"the scheduler": func(h *house, pending func(int)) {
			h.stop()
			pending(cameras * (lead + 4))
			h.startCentre()
		},
		"the line, and the scheduler restarts": func(h *house, pending func(int)) {
			h.line.setCut(true)
			pending(cameras * (lead + 2))
			h.stop()
			pending(cameras * (lead + 3))
			h.startCentre()
			pending(cameras * (lead + 4))
			h.line.setCut(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, small("a", "b", "c"))
			h.apply(fmt.Sprintf(`{name: quick, select: "*", every: 1s, lead: %ds}`, lead))
			h.startAgent(edge.Options{})
			wait(t, "pictures", func() bool { return len(h.captures()) >= cameras })
			from := fleet.At(time.Now())
			cut(h, func(n int) {
				t.Helper()
				wait(t, fmt.Sprintf("%d outcomes without the centre", n), func() bool { return h.edge.Stats().OutboxPending >= n })
			})
			until := fleet.At(time.Now())
			wait(t, "the line", func() bool { s := h.edge.Stats(); return s.Line.Connected && s.OutboxPending == 0 })
			within := 0
			for _, c := range h.finish() {
				if c.Nominal >= from && c.Nominal < until {
					within++
				}
				if c.Outcome != fleet.Captured && c.Nominal >= from {
					t.Errorf("%s: %s(%s) %s", c.Occurrence, c.Outcome, c.Cause, c.Detail)
				}
			}
			// Some of what waited was older than the cut.
			if want := cameras * (lead + 2); within < want {
				t.Errorf("%d outcomes in the cut, want at least %d", within, want)
			}
		})
	}
}

// TestCaptureNow asks for a picture of the whole street at once, and waits for
// what comes of each camera. One of them is silent and ends with the deadline.
func TestCaptureNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, camtest.Street())
	h.startAgent(edge.Options{})
	check(t, h.town.SetFault("dock-2", camtest.Silent, true))
	var j admin.Job
	check(t, h.api.Create(t.Context(), "jobs", nil, map[string]any{"select": "*", "deadline": "6s"}, &j))
	if n := uint64(len(h.byName)); j.Books.Issued != n || j.Done || j.Deadline != j.Asked+6000 {
		t.Errorf("asked of %d cameras: %+v", n, j)
	}
	var d admin.JobDetail
	wait(t, "the job", func() bool {
		check(t, h.api.Get(t.Context(), "jobs/"+j.ID, nil, &d))
		return d.Done
	})
	for _, c := range d.Cameras {
		switch v := c.Capture; {
		case v == nil:
			t.Errorf("%s: no outcome", c.Camera)
		case c.Camera == h.byName["dock-2"]:
			if v.Outcome != fleet.Failed || v.Cause != fleet.CauseTimeout || v.At > j.Deadline+1000 {
				t.Errorf("the silent camera: %s(%s) %s at %s", v.Outcome, v.Cause, v.Detail, v.At)
			}
		case v.Outcome != fleet.Captured || v.Nominal != j.Asked || v.At > j.Deadline:
			t.Errorf("%s: %s(%s) %s at %s", c.Camera, v.Outcome, v.Cause, v.Detail, v.At)
		}
	}
	if len(d.Cameras) != len(h.byName) || d.Books.Captured+1 != uint64(len(h.byName)) {
		t.Errorf("%d cameras, %+v", len(d.Cameras), d.Books)
	}
	h.finish()
}

// TestPauseRecalls pauses a schedule whose orders an agent holds: they are
// taken back, and go out again when the pause ends before they are due.
func TestPauseRecalls(t *testing.T) {
	t.Parallel()
	h := newHouse(t, small("a", "b"))
	h.apply(`{name: quick, select: "*", every: 1s, lead: 20s}`)
	h.startAgent(edge.Options{})
	held := func(what string, ok func(int) bool) {
		t.Helper()
		wait(t, what, func() bool { return ok(h.edge.Stats().OrdersHeld) })
	}
	held("orders", func(n int) bool { return n >= 30 })
	before := fleet.At(time.Now())
	var p admin.Pause
	check(t, h.api.Create(t.Context(), "pauses", nil, map[string]any{"schedule": "quick"}, &p))
	held("the recall", func(n int) bool { return n == 0 })
	wait(t, "three that are skipped", func() bool {
		return 3 <= len(slices.DeleteFunc(h.captures(), func(c admin.Capture) bool { return c.Outcome != fleet.Skipped }))
	})
	resumed := fleet.At(time.Now())
	h.send(http.MethodDelete, "pauses/"+p.ID, nil, nil)
	after := fleet.At(time.Now())
	held("the orders again", func(n int) bool { return n >= 30 })
	wait(t, "pictures after the pause", func() bool {
		cs := h.captures()
		return len(cs) > 0 && cs[len(cs)-1].Nominal > after+2000
	})
	for _, c := range h.finish() {
		switch skipped := c.Outcome == fleet.Skipped && c.Cause == fleet.CausePaused; {
		case c.Nominal >= p.From && c.Nominal < resumed:
			if !skipped {
				t.Errorf("%s within the pause: %s(%s)", c.Nominal, c.Outcome, c.Cause)
			}
		case c.Nominal < before || c.Nominal >= after:
			if c.Outcome != fleet.Captured {
				t.Errorf("%s outside of the pause: %s(%s)", c.Nominal, c.Outcome, c.Cause)
			}
		}
	}
}

// TestBurst has ten cameras due at once at a site that bears five a second.
func TestBurst(t *testing.T) {
	t.Parallel()
	const cameras, burst = 10, 5
	var names []string
	for i := range cameras {
		names = append(names, fmt.Sprintf("c%d", i))
	}
	h := newHouse(t, small(names...))
	h.send(http.MethodPatch, "sites/lab", map[string]any{"burst": burst}, nil)
	h.apply(`{name: herd, select: "*", every: 4s, at_phase: 0s, lead: 6s}`)
	h.startAgent(edge.Options{})
	wait(t, "two herds", func() bool { return len(h.captures()) >= 3*cameras })
	delays := map[fleet.Instant][]int64{}
	for _, c := range h.finish() {
		if c.Outcome != fleet.Captured {
			t.Logf("%s: %s(%s)", c.Nominal, c.Outcome, c.Cause)
			continue
		}
		delays[c.Nominal] = append(delays[c.Nominal], c.DelayMS)
	}
	full := 0
	for nominal, ds := range delays {
		if len(ds) < cameras {
			continue // before the agent was there
		}
		full++
		slices.Sort(ds)
		for i, d := range ds {
			if least := int64(i / burst * 1000); d < least || d > least+1000 {
				t.Errorf("herd of %s: capture %d started after %d ms, want %d to %d", nominal, i+1, d, least, least+1000)
			}
		}
	}
	if full < 2 {
		t.Errorf("%d whole herds: %v", full, delays)
	}
}

// TestSharedFrame lets two schedules want a camera in the same second: it is
// asked once, and both have their outcome.
func TestSharedFrame(t *testing.T) {
	t.Parallel()
	h := newHouse(t, small("a"))
	h.apply(`{name: one, select: "*", every: 1s, at_phase: 300ms, lead: 5s}, {name: two, select: "*", every: 1s, at_phase: 600ms, lead: 5s}`)
	h.startAgent(edge.Options{})
	wait(t, "pictures", func() bool { return len(h.captures()) >= 10 })
	bySecond := map[fleet.Instant][]admin.Capture{}
	frames := 0
	for _, c := range h.finish() {
		if c.Outcome != fleet.Captured {
			continue // before the agent was there
		}
		second := c.Nominal / 1000
		if len(bySecond[second]) == 0 {
			frames++
		}
		bySecond[second] = append(bySecond[second], c)
	}
	shared := 0
	for _, cs := range bySecond {
		if len(cs) == 2 && cs[0].At == cs[1].At && cs[0].SHA256 == cs[1].SHA256 {
			shared++
		} else if len(cs) == 2 {
			t.Errorf("two frames in one second: %+v", cs)
		}
	}
	if n := h.town.Stats("a").Pictures; n != frames || shared < 3 {
		t.Errorf("the camera sent %d pictures for %d seconds, %d were shared", n, frames, shared)
	}
}

// TestOverlap has a camera for each policy that needs seconds for a picture
// each second, and is well again.
func TestOverlap(t *testing.T) {
	t.Parallel()
	policies := []string{"skip", "queue-one", "replace"}
	h := newHouse(t, small(policies...))
	yaml := ""
	for _, p := range policies {
		yaml += fmt.Sprintf(`{name: %s, select: "is=%s", every: 1s, at_phase: 0s, lead: 5s, deadline: 20s, overlap: %s},`, p, p, p)
		check(t, h.town.SetFault(p, camtest.Slow, true))
	}
	h.apply(yaml)
	h.startAgent(edge.Options{})
	ended := map[string]map[string]int{}
	count := func(cs []admin.Capture) {
		ended = map[string]map[string]int{"skip": {}, "queue-one": {}, "replace": {}}
		for _, c := range cs {
			word := c.Outcome.String()
			if c.Cause != "" {
				word += "(" + string(c.Cause) + ")"
			} else if c.DelayMS >= 500 {
				word += " late"
			}
			ended[c.Schedule][word]++
		}
	}
	wait(t, "what each policy does", func() bool {
		count(h.captures())
		return ended["skip"]["captured"] >= 1 && ended["skip"]["skipped(overlap)"] >= 2 && ended["queue-one"]["captured late"] >= 1 &&
			ended["queue-one"]["skipped(overlap)"] >= 1 && ended["replace"]["skipped(replaced)"] >= 3
	})
	check(t, h.town.SetFault("*", camtest.Slow, false))
	well := fleet.At(time.Now())
	wait(t, "pictures of quick cameras", func() bool {
		on := map[string]int{}
		for _, c := range h.captures() {
			if c.Outcome == fleet.Captured && c.Nominal > well+500 {
				on[c.Schedule]++
			}
		}
		return on["skip"] >= 2 && on["queue-one"] >= 2 && on["replace"] >= 2
	})
	h.apply(`{name: never, select: "*", once: "2020-01-01T00:00:00Z"}`)
	count(h.captures())
	t.Logf("%v", ended)
	if n := ended["skip"]["captured late"] + ended["skip"]["skipped(replaced)"] + ended["queue-one"]["skipped(replaced)"] + ended["replace"]["skipped(overlap)"]; n != 0 {
		t.Errorf("a policy did what another should: %v", ended)
	}
	h.finish()
}

// TestRetake has a camera in the dark: three frames are taken until its light
// is on, and one then.
func TestRetake(t *testing.T) {
	t.Parallel()
	h := newHouse(t, small("a"))
	check(t, h.town.SetFault("a", camtest.Black, true))
	h.apply(`{name: look, select: "*", every: 2s, lead: 5s, retake: {on: [black], max: 2}}`)
	h.startAgent(edge.Options{})
	// Policies come with the standing orders: an order that is begun before them
	// is taken plainly.
	ready := fleet.At(time.Now()) + 1000
	wait(t, "dark pictures", func() bool {
		cs := h.captures()
		return len(cs) > 0 && cs[len(cs)-1].Nominal > ready
	})
	until := fleet.At(time.Now())
	check(t, h.town.SetFault("a", camtest.Black, false))
	lit := fleet.At(time.Now())
	wait(t, "a bright picture", func() bool {
		cs := h.captures()
		return cs[len(cs)-1].Nominal > lit
	})
	dark, bright, frames := 0, 0, 0
	for _, c := range h.finish() {
		if c.Outcome != fleet.Captured {
			t.Errorf("%s: %s(%s) %s", c.Nominal, c.Outcome, c.Cause, c.Detail)
			continue
		}
		frames += 1 + c.Retakes
		switch {
		case c.Nominal < ready:
		case c.At < until && c.Retakes == 2: // its frames were dark
			dark++
		case c.Nominal > lit && c.Retakes == 0:
			bright++
		case c.At < until || c.Nominal > lit:
			t.Errorf("%s at %s: %d retakes, %d attempts, %+v; the light went on between %s and %s", c.Nominal, c.At, c.Retakes, c.Attempts, *c.Quality, until, lit)
		}
	}
	if n := h.town.Stats("a").Pictures; dark == 0 || bright == 0 || n != frames {
		t.Errorf("%d dark and %d bright captures; the camera sent %d pictures, %d are told", dark, bright, n, frames)
	}
}

// TestWrongClock runs agents whose boxes are 90 minutes ahead and behind: the
// cameras are asked at the right moment.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": 90 * time.Minute, "behind": -90 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, small("a"))
			to, err := url.Parse(h.town.Cameras()[0].Snapshot)
			check(t, err)
			var mu sync.Mutex
			var asked []fleet.Instant
			pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: to.Host}) }}
			door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				asked = append(asked, fleet.At(time.Now()))
				mu.Unlock()
				pass.ServeHTTP(w, r)
			}))
			t.Cleanup(door.Close)
			h.add("door", door.URL+to.Path)
			h.apply(`{name: look, select: "is=door", every: 1s, at_phase: 400ms, lead: 5s}`)
			h.startAgent(edge.Options{Clock: func() time.Time { return time.Now().Add(off) }})
			wait(t, "pictures", func() bool { return len(h.captures()) >= 8 })
			cs := h.finish()
			mu.Lock()
			defer mu.Unlock()
			if len(asked) != len(cs) {
				t.Fatalf("the camera was asked %d times for %d occurrences", len(asked), len(cs))
			}
			var errs []time.Duration
			var bound time.Duration
			for i, c := range cs {
				if c.Outcome != fleet.Captured {
					t.Errorf("%s: %s(%s) %s", c.Nominal, c.Outcome, c.Cause, c.Detail)
				}
				bound = time.Duration(c.BoundMS+1) * time.Millisecond
				d := asked[i].Sub(c.Nominal)
				if d < -bound {
					t.Errorf("asked %v early, the bound is %v", -d, bound)
				}
				errs = append(errs, d)
			}
			// A busy machine wakes some of them late; a wrong clock would move all.
			slices.Sort(errs)
			t.Logf("asked %v after the nominal times, bound %v", errs, bound)
			if len(errs) < 6 || errs[len(errs)/4] > 50*time.Millisecond+bound || bound > time.Second {
				t.Errorf("asked %v after the nominal times, bound %v", errs, bound)
			}
		})
	}
}
