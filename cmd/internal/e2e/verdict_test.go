//go:build !race

package e2e

import (
	"context"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// latest returns the verdict on each camera's newest frame, by name.
func (h *house) latest() map[string]admin.Verdict {
	h.t.Helper()
	out := map[string]admin.Verdict{}
	for _, c := range h.captures() { // oldest first
		for name, id := range h.byName {
			if c.Camera == id && c.Verdict != nil {
				out[name] = *c.Verdict
			}
		}
	}
	return out
}

// TestVerdicts: what is wrong with a picture comes from the camera to the API;
// what an agent has learned survives its restart, and goes when an operator
// accepts how a camera looks.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, small("lit", "dark", "still", "well"))
	h.apply(`{name: look, select: "*", every: 1s, lead: 5s}`)
	key, err := h.cen.CreateKey(t.Context(), scheduler.NewKey{Site: "lab", Approve: true})
	check(t, err)
	start := func() (stop func()) {
		var err error
		h.edge, err = edge.New(edge.Options{DataDir: filepath.Join(h.dir, "agent"), Server: h.line.addr(), SiteKey: key, NoDiscovery: true})
		check(t, err)
		e := h.edge
		halt := background(t, func(ctx context.Context) error { return e.Run(ctx) })
		stop = sync.OnceFunc(func() { halt(); check(t, e.Close()) })
		t.Cleanup(stop)
		return stop
	}
	all := func(is func(name string, v admin.Verdict) bool) func() bool {
		return func() bool {
			latest := h.latest()
			for name := range h.byName {
				if v, ok := latest[name]; !ok || !is(name, v) {
					return false
				}
			}
			return true
		}
	}

	stop := start()
	wait(t, "ordinary pictures", all(func(_ string, v admin.Verdict) bool { return v.Fault == fleet.FaultNone && !v.Learning }))
	for name, fault := range map[string]camtest.Fault{"lit": camtest.OverExposed, "dark": camtest.Black, "still": camtest.Frozen} {
		check(t, h.town.SetFault(name, fault, true))
	}
	want := map[string]fleet.Fault{"lit": fleet.FaultOverExposed, "dark": fleet.FaultBlack, "still": fleet.FaultFrozen, "well": fleet.FaultNone}
	told := func(name string, v admin.Verdict) bool {
		return v.Fault == want[name] && (v.Evidence != nil) == (want[name] != fleet.FaultNone)
	}
	wait(t, "what is wrong", all(told))

	stop()
	before := len(h.captures())
	start()
	wait(t, "pictures after the restart", func() bool { return len(h.captures()) >= before+8 })
	for _, c := range h.captures()[before:] {
		if c.Camera == h.byName["well"] && c.Verdict != nil && c.Verdict.Learning {
			t.Errorf("the restart forgot how a camera looks: %+v", *c.Verdict)
		}
	}
	wait(t, "what is wrong, after the restart", all(told))

	var a admin.Accepted
	check(t, h.api.Create(t.Context(), "cameras/"+h.byName["well"].String()+"/accept", url.Values{}, struct{}{}, &a))
	if a.Camera != h.byName["well"] || a.Agent == "" || a.Lasting != "" {
		t.Errorf("accepted: %+v", a)
	}
	wait(t, "a camera that is learned anew", func() bool { return h.latest()["well"].Learning })
	h.finish()
}
