//go:build !race

package e2e

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// box is an agent that can be switched off and on.
type box struct {
	h    *house
	opts edge.Options
	edge *edge.Edge
	stop func()
}

func (h *house) box(name string) *box {
	h.t.Helper()
	key, err := h.cen.CreateKey(h.t.Context(), scheduler.NewKey{Site: "lab", Approve: true})
	check(h.t, err)
	b := &box{h: h, opts: edge.Options{DataDir: filepath.Join(h.dir, name), Hostname: name, Server: h.line.addr(), SiteKey: key, NoDiscovery: true}}
	b.on()
	h.t.Cleanup(func() {
		if b.stop != nil {
			b.off()
		}
	})
	return b
}

func (b *box) on() {
	b.h.t.Helper()
	var err error
	b.edge, err = edge.New(b.opts)
	check(b.h.t, err)
	e := b.edge
	b.stop = background(b.h.t, func(ctx context.Context) error { return e.Run(ctx) })
}

func (b *box) off() {
	b.h.t.Helper()
	b.stop()
	check(b.h.t, b.edge.Close())
	b.stop = nil
}

// outcomes counts the captures so far by cause, "" for pictures, and by agent.
func (h *house) outcomes() (causes map[fleet.Cause]int, agents map[string]int) {
	h.t.Helper()
	causes, agents = map[fleet.Cause]int{}, map[string]int{}
	for _, c := range h.captures() {
		causes[c.Cause]++
		agents[string(c.Agent)]++
	}
	return causes, agents
}

// TestTwoAgentsShareTheLoginBudget: a camera whose password was changed sees two
// wrong logins, over both agents of its site, however often the agents and the
// centre start again. What has worked is used without the centre.
func TestTwoAgentsShareTheLoginBudget(t *testing.T) {
	t.Parallel()
	cams := small("gate", "yard", "dock", "hall")
	for i := range cams {
		cams[i].Open, cams[i].User, cams[i].Password = false, "root", "right"
	}
	h := newHouse(t, cams)
	stage := "at first"
	wrong := func() int {
		n := 0
		for _, c := range h.town.Cameras() {
			s := h.town.Stats(c.Name)
			if s.Refused > 2 {
				t.Fatalf("%s: %s refused %d logins", stage, c.Name, s.Refused)
			}
			n += s.Refused
		}
		return n
	}
	h.send(http.MethodPost, "credentials", map[string]any{"site": "lab", "user": "root", "password": "wrong"}, nil)
	one, two := h.box("one"), h.box("two")
	both := func() {
		t.Helper()
		wait(t, "both agents", func() bool {
			a, err := client.All[admin.Agent](t.Context(), h.api, "agents")
			check(t, err)
			return len(a) == 2 && a[0].Connected && a[0].Standing && a[1].Connected && a[1].Standing
		})
	}
	both()
	// A login that a deadline cuts short has no answer to tell of: the camera may
	// count it, and the centre does not. So no deadline comes near on any machine.
	h.apply(`{name: often, select: "*", every: 1s, deadline: 2m}`)
	more := func(what string, n int) {
		t.Helper()
		before, _ := h.outcomes()
		wait(t, what, func() bool {
			now, _ := h.outcomes()
			wrong()
			return now[fleet.CauseLocked] >= before[fleet.CauseLocked]+n
		})
	}
	// Nor is an agent switched off at one.
	wait(t, "logins to be used up, and known to be", func() bool {
		locked := map[fleet.CameraID]bool{}
		for _, c := range h.captures() {
			if c.Cause == fleet.CauseLocked {
				locked[c.Camera] = true
			}
		}
		return wrong() == 8 && len(locked) == len(cams)
	})
	// Which of them serves a camera is a hash of names drawn at random: each may
	// have all of them. So each has to be alone for a while.
	for _, b := range []struct{ off, alone *box }{{one, two}, {two, one}} {
		stage = "with one agent alone"
		b.off.off()
		id := string(b.alone.edge.Stats().Line.Agent)
		_, before := h.outcomes()
		wait(t, "captures of one agent alone", func() bool {
			_, now := h.outcomes()
			wrong()
			return now[id] >= before[id]+4
		})
		b.off.on()
		both()
	}
	stage = "after the agents' starts"
	more("captures after the agents' starts", 8)
	stage = "after the centre's start"
	h.stop()
	two.off()
	h.startCentre()
	two.on()
	more("captures after the centre's start", 8)
	if n := wrong(); n != 8 {
		t.Errorf("%d wrong logins were seen by 4 cameras, want 2 each", n)
	}

	// An agent that is away meanwhile knows the wrong password alone when it
	// comes back, and the cameras have forgotten that they refused it.
	stage = "after the right password came"
	two.off()
	h.send(http.MethodPost, "credentials", map[string]any{"site": "lab", "user": "root", "password": "right"}, nil)
	wait(t, "pictures of each camera", func() bool {
		taken := map[fleet.CameraID]bool{}
		for _, c := range h.captures() {
			if c.Outcome == fleet.Captured {
				taken[c.Camera] = true
			}
		}
		return len(taken) == len(cams)
	})
	two.on()
	both()
	wait(t, "more pictures", func() bool {
		now, _ := h.outcomes()
		wrong()
		return now[""] >= 16
	})
	pictures := func() (n int) {
		for _, c := range h.town.Cameras() {
			n += h.town.Stats(c.Name).Pictures
		}
		return n
	}
	h.stop() // from here on each agent is alone with what it knows
	one.off()
	two.off()
	before := pictures()
	one.on()
	two.on()
	wait(t, "pictures without the centre", func() bool { return pictures() >= before+4 })
	if n := wrong(); n != 8 {
		t.Errorf("%d wrong logins were seen in the end, want 8", n)
	}
	h.startCentre()
}
