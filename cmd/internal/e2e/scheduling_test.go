//go:build !race

package e2e

import (
	"cmp"
	"fmt"
	"maps"
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
				long := from.Add(time.Duration(n/cameras) * time.Second) // some of what waits may be older than the cut
				wait(t, fmt.Sprintf("%d outcomes without the centre", n), func() bool {
					return h.edge.Stats().OutboxPending >= n && fleet.At(time.Now()) >= long
				})
			})
			until := fleet.At(time.Now())
			wait(t, "the line", func() bool { s := h.edge.Stats(); return s.Line.Connected && s.OutboxPending == 0 })
			within, captured := 0, map[fleet.CameraID]bool{}
			for _, c := range h.finish() {
				if c.Nominal >= from && c.Nominal < until {
					within++
					captured[c.Camera] = captured[c.Camera] || c.Outcome == fleet.Captured
				}
				if !taken(c) && c.Nominal >= from {
					t.Errorf("%s: %s(%s) %s", c.Occurrence, c.Outcome, c.Cause, c.Detail)
				}
			}
			if want := cameras * (lead + 3); within < want {
				t.Errorf("%d outcomes in the cut, want at least %d", within, want)
			}
			for id, ok := range captured {
				if !ok {
					t.Errorf("no picture of %s in the cut", id)
				}
			}
		})
	}
}

// TestCaptureNow asks for a picture of the whole street at once, and waits for
// what comes of each camera. One of them is silent and ends with its deadline,
// which the others, on a machine that is busy, need not keep.
func TestCaptureNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, camtest.Street())
	h.startAgent(edge.Options{})
	check(t, h.town.SetFault("dock-2", camtest.Silent, true))
	ask := func(of string, deadline time.Duration, cameras int) (j admin.Job) {
		t.Helper()
		check(t, h.api.Create(t.Context(), "jobs", nil, map[string]any{"select": of, "deadline": deadline.String()}, &j))
		if j.Books.Issued != uint64(cameras) || j.Done || j.Deadline != j.Asked.Add(deadline) {
			t.Errorf("asked of %d cameras: %+v", cameras, j)
		}
		return j
	}
	answers := func(j admin.Job) (d admin.JobDetail) {
		t.Helper()
		wait(t, "the job", func() bool {
			check(t, h.api.Get(t.Context(), "jobs/"+j.ID, nil, &d))
			return d.Done
		})
		return d
	}
	well := len(h.byName) - 1
	silent, street := ask("is=dock-2", 6*time.Second, 1), ask("is!=dock-2", 2*time.Minute, well)
	d := answers(street)
	// A login that has not worked yet needs the centre's permit, which a busy
	// machine may give too late: it is tried the next time.
	for range 9 {
		if !slices.ContainsFunc(d.Cameras, func(c admin.JobCamera) bool { return c.Capture != nil && c.Capture.Cause == fleet.CauseDeadline }) {
			break
		}
		street = ask("is!=dock-2", 2*time.Minute, well)
		d = answers(street)
	}
	for _, c := range d.Cameras {
		switch v := c.Capture; {
		case v == nil:
			t.Errorf("%s: no outcome", c.Camera)
		case c.Camera == h.byName["dock-2"] || v.Outcome != fleet.Captured || v.Nominal != street.Asked || v.At > street.Deadline:
			t.Errorf("%s: %s(%s) %s at %s", c.Camera, v.Outcome, v.Cause, v.Detail, v.At)
		}
	}
	if len(d.Cameras) != well || d.Books.Captured != uint64(well) {
		t.Errorf("%d cameras, %+v", len(d.Cameras), d.Books)
	}
	// The deadline may come before a busy machine has even asked the camera.
	for deadline := 12 * time.Second; ; deadline *= 2 {
		d = answers(silent)
		if len(d.Cameras) != 1 || d.Cameras[0].Camera != h.byName["dock-2"] || d.Cameras[0].Capture == nil {
			t.Fatalf("the silent camera: %+v", d)
		}
		v := d.Cameras[0].Capture
		if v.Outcome == fleet.Failed && v.Cause == fleet.CauseTimeout {
			break
		}
		if v.Outcome == fleet.Captured || deadline > 2*time.Minute {
			t.Fatalf("the silent camera: %s(%s) %s at %s", v.Outcome, v.Cause, v.Detail, v.At)
		}
		silent = ask("is=dock-2", deadline, 1)
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
		case c.Nominal > p.From && c.Nominal < resumed: // in the very millisecond it may go either way
			if !skipped {
				t.Errorf("%s within the pause: %s(%s)", c.Nominal, c.Outcome, c.Cause)
			}
		case c.Nominal < before || c.Nominal >= after:
			if !taken(c) {
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
	// delays of the herds that were captured as a whole, in each the least first.
	delays := func(cs []admin.Capture) map[fleet.Instant][]int64 {
		out := map[fleet.Instant][]int64{}
		for _, c := range cs {
			if c.Outcome == fleet.Captured {
				out[c.Nominal] = append(out[c.Nominal], c.DelayMS)
			}
		}
		for _, ds := range out {
			slices.Sort(ds)
		}
		maps.DeleteFunc(out, func(_ fleet.Instant, ds []int64) bool { return len(ds) < cameras })
		return out
	}
	// A busy machine starts some late, and not the same in each herd.
	wait(t, "two herds, in which each starts within its second", func() bool {
		herds := delays(h.captures())
		inTime := map[int]bool{}
		for _, ds := range herds {
			for i, d := range ds {
				inTime[i] = inTime[i] || d <= int64(i/burst*1000)+1000
			}
		}
		return len(herds) >= 2 && !slices.Contains(slices.Collect(maps.Values(inTime)), false)
	})
	for nominal, ds := range delays(h.finish()) {
		for i, d := range ds {
			if least := int64(i / burst * 1000); d < least {
				t.Errorf("herd of %s: capture %d started after %d ms, want at least %d", nominal, i+1, d, least)
			}
		}
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
			// A busy machine wakes most of them late; a wrong clock would move all.
			const prompt = 50
			wait(t, "pictures, and one that was asked for in time", func() bool {
				mu.Lock()
				inTime := slices.ContainsFunc(asked, func(at fleet.Instant) bool { return (at-400)%1000 <= prompt })
				mu.Unlock()
				return inTime && len(h.captures()) >= 8
			})
			stop := fleet.At(time.Now())
			cs := h.finish()
			slices.SortFunc(cs, func(a, b admin.Capture) int { return cmp.Compare(a.Nominal, b.Nominal) })
			mu.Lock()
			defer mu.Unlock()
			var errs []time.Duration
			var bound time.Duration
			left := asked
			for _, c := range cs {
				if !taken(c) {
					t.Errorf("%s: %s(%s) %s", c.Nominal, c.Outcome, c.Cause, c.Detail)
				}
				if len(left) < c.Attempts {
					t.Fatalf("the camera was asked %d times for %d occurrences", len(asked), len(cs))
				}
				bound = time.Duration(c.BoundMS+1) * time.Millisecond
				for i, at := range left[:c.Attempts] {
					d := at.Sub(c.Nominal)
					if d < -bound {
						t.Errorf("asked %v early, the bound is %v", -d, bound)
					}
					if i == 0 {
						errs = append(errs, d)
					}
				}
				left = left[c.Attempts:]
			}
			// What was about to be due when the schedules were taken away has no
			// outcome, and may have been asked for.
			if len(left) > 0 && left[0] < stop.Add(-bound) {
				t.Errorf("the camera was asked at %s for nothing", left[0])
			}
			slices.Sort(errs)
			t.Logf("asked %v after the nominal times, bound %v", errs, bound)
			if len(errs) < 6 || errs[0] > prompt*time.Millisecond+bound || bound > time.Second {
				t.Errorf("asked %v after the nominal times, bound %v", errs, bound)
			}
		})
	}
}
