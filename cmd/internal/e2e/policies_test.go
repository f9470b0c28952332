//go:build !race

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// TestSharedFrame lets two schedules want a camera in the same second: it is
// asked once, and both have their outcome.
func TestSharedFrame(t *testing.T) {
	t.Parallel()
	h := newHouse(t, small("a"))
	h.apply(`{name: one, select: "*", every: 1s, at_phase: 300ms, lead: 5s}, {name: two, select: "*", every: 1s, at_phase: 600ms, lead: 5s}`)
	h.startAgent(edge.Options{})
	ready := fleet.At(time.Now()) // what was due before may have come one by one
	wait(t, "pictures", func() bool {
		n := 0
		for _, c := range h.captures() {
			if c.Outcome == fleet.Captured && c.Nominal > ready {
				n++
			}
		}
		return n >= 10
	})
	bySecond := map[fleet.Instant][]admin.Capture{}
	frames := map[fleet.Instant]bool{}
	for _, c := range h.finish() {
		if c.Outcome == fleet.Captured {
			frames[c.At] = true
			bySecond[c.Nominal/1000] = append(bySecond[c.Nominal/1000], c)
		}
	}
	shared := 0
	for second, cs := range bySecond {
		if len(cs) == 2 && cs[0].At == cs[1].At && cs[0].SHA256 == cs[1].SHA256 {
			shared++
		} else if len(cs) == 2 && second > ready/1000 {
			t.Errorf("two frames in one second: %+v", cs)
		}
	}
	h.sent("a", len(frames))
	if shared < 3 {
		t.Errorf("%d frames were shared", shared)
	}
}

// sent compares what a camera has sent with the pictures that are told of. A
// picture counts once it has gone, which may be after it was told of; and those
// that were under way when the schedules were taken away are nobody's: one, or
// some where the agent is slow to hear of it.
func (h *house) sent(camera string, told int) {
	h.t.Helper()
	wait(h.t, fmt.Sprintf("%d pictures", told), func() bool { return h.town.Stats(camera).Pictures >= told })
	if n := h.town.Stats(camera).Pictures; n > told+3 {
		h.t.Errorf("the camera sent %d pictures, %d are told", n, told)
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
	t.Cleanup(func() { t.Logf("%v", ended) })
	count := func(cs []admin.Capture) {
		ended = map[string]map[string]int{"skip": {}, "queue-one": {}, "replace": {}}
		for _, c := range cs {
			word := c.Outcome.String()
			if c.Cause != "" {
				word += "(" + string(c.Cause) + ")"
			} else if c.DelayMS >= 500 {
				word += " late"
			}
			if c.Cause == fleet.CauseOverlap && strings.Contains(c.Detail, "it waited") {
				word += " in the queue"
			}
			ended[c.Schedule][word]++
		}
	}
	wait(t, "what each policy does", func() bool {
		count(h.captures())
		return ended["skip"]["captured"]+ended["skip"]["captured late"] >= 1 && ended["skip"]["skipped(overlap)"] >= 2 && ended["queue-one"]["captured"]+ended["queue-one"]["captured late"] >= 1 &&
			ended["queue-one"]["skipped(overlap) in the queue"] >= 1 && ended["replace"]["skipped(replaced)"] >= 3
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
	if n := ended["skip"]["skipped(overlap) in the queue"] + ended["skip"]["skipped(replaced)"] + ended["queue-one"]["skipped(overlap)"] + ended["queue-one"]["skipped(replaced)"] +
		ended["replace"]["skipped(overlap)"] + ended["replace"]["skipped(overlap) in the queue"]; n != 0 {
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
	var ready fleet.Instant
	wait(t, "dark pictures, taken again", func() bool {
		cs := h.captures()
		i := slices.IndexFunc(cs, func(c admin.Capture) bool { return c.Retakes > 0 })
		if i >= 0 {
			ready = cs[i].Nominal
		}
		return i >= 0
	})
	until := fleet.At(time.Now())
	check(t, h.town.SetFault("a", camtest.Black, false))
	lit := fleet.At(time.Now())
	// The agent's clock is the centre's but for a bound.
	isLit := func(c admin.Capture) bool { return c.Nominal > lit+fleet.Instant(c.BoundMS)+1 }
	wait(t, "a bright picture", func() bool { return slices.ContainsFunc(h.captures(), isLit) })
	dark, bright, frames := 0, 0, 0
	for _, c := range h.finish() {
		if c.Outcome != fleet.Captured {
			if c.Nominal >= ready {
				t.Errorf("%s: %s(%s) %s", c.Nominal, c.Outcome, c.Cause, c.Detail)
			}
			continue
		}
		frames += 1 + c.Retakes
		isDark := c.At+fleet.Instant(c.BoundMS)+1 < until
		switch {
		case c.Nominal < ready:
		case isDark && c.Retakes == 2: // all of its frames were
			dark++
		case isLit(c) && c.Retakes == 0:
			bright++
		case isDark || isLit(c):
			t.Errorf("%s at %s: %d retakes, %d attempts, %+v; the light went on between %s and %s", c.Nominal, c.At, c.Retakes, c.Attempts, *c.Quality, until, lit)
		}
	}
	h.sent("a", frames)
	if dark == 0 || bright == 0 {
		t.Errorf("%d dark and %d bright captures", dark, bright)
	}
}
