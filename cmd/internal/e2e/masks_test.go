//go:build !race

package e2e

import (
	"bytes"
	"encoding/json"
	"image/color"
	"image/jpeg"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// glimpse is a thumbnail as it came from the agent: how bright its halves are at
// their brightest.
type glimpse struct{ left, right int }

// dark is what black becomes in a JPEG, 16 samples away from what is not.
const dark = 8

// glimpses are all thumbnails of one camera that came to the centre's door,
// those it dropped among them.
type glimpses struct {
	t *testing.T

	mu  sync.Mutex
	all []glimpse
}

func (g *glimpses) add(_ fleet.CameraID, b []byte) {
	v := look(g.t, b)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, v)
}

func look(t *testing.T, b []byte) (v glimpse) {
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Errorf("a thumbnail that is none: %v", err)
		return v
	}
	w := m.Bounds().Dx()
	for y := range m.Bounds().Dy() {
		for x := range w {
			level := int(color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y)
			if x < w/2-16 {
				v.left = max(v.left, level)
			} else if x >= w/2+16 {
				v.right = max(v.right, level)
			}
		}
	}
	return v
}

func (g *glimpses) since(n int) []glimpse {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]glimpse{}, g.all[n:]...)
}

// TestMasks: from the moment that a mask's setting is answered, no thumbnail
// comes from the agent that shows what is hidden: not from what was in its
// memory, not after a cut, not from before a restart; and each capture says what
// was hidden of it.
func TestMasks(t *testing.T) {
	t.Parallel()
	g := &glimpses{t: t}
	h := newHouse(t, small("gate"))
	h.stop()
	h.doors.ThumbnailEvery, h.doors.Thumbnail = -1, g.add
	h.startCentre()
	b := h.box("agent")
	h.edge = b.edge
	id := h.byName["gate"]
	path := "cameras/" + id.String()
	const left, right = `{"rectangles":[{"x":0,"y":0,"width":0.5,"height":1}]}`, `{"rectangles":[{"x":0.5,"y":0,"width":0.5,"height":1}]}`
	put := func(mask, state string) (sum fleet.MaskSum, seen int) {
		t.Helper()
		var m admin.Mask
		h.send(http.MethodPut, path+"/mask", json.RawMessage(mask), &m)
		if len(m.Agents) != 1 || m.Agents[0].State != state {
			t.Errorf("after a mask was set the agents are %+v, want %s", m.Agents, state)
		}
		return m.Sum, len(g.since(0))
	}
	// shown waits for n more glimpses and holds all since the first against ok.
	shown := func(what string, first, n int, ok func(glimpse) bool) {
		t.Helper()
		wait(t, what, func() bool { return len(g.since(first)) >= n })
		for _, v := range g.since(first) {
			if !ok(v) {
				t.Errorf("%s: %+v", what, v)
			}
		}
	}
	noLeft := func(v glimpse) bool { return v.left <= dark && v.right > 40 }
	noRight := func(v glimpse) bool { return v.right <= dark && v.left > 40 }

	h.apply(`{name: look, select: "*", every: 1s, lead: 5s}`)
	shown("pictures without a mask", 0, 3, func(v glimpse) bool { return v.left > 40 && v.right > 40 })

	first, seen := put(left, scheduler.MaskHeld)
	if thumb, err := h.api.Bytes(t.Context(), path+"/thumbnail.jpg", "image/jpeg"); err == nil && !noLeft(look(t, thumb)) {
		t.Error("the centre goes on showing the picture of before")
	}
	shown("pictures under the first mask", seen, 3, noLeft)

	// Cut off: the mask holds by itself, over a restart.
	h.line.setCut(true)
	seen = len(g.since(0))
	b.off()
	b.on()
	h.edge = b.edge
	alone := func(n int) {
		wait(t, "captures while cut off", func() bool { return b.edge.Stats().OutboxPending >= n })
	}
	alone(3)
	h.line.setCut(false)
	shown("pictures after a cut and a restart", seen, 3, noLeft)

	// Another mask is set while the agent is cut off and has pictures in memory.
	h.line.setCut(true)
	alone(2)
	second, seen := put(right, scheduler.MaskAway)
	alone(4)
	h.line.setCut(false)
	shown("pictures under the mask that was set while the agent was away", seen, 3, noRight)
	wait(t, "the mask of now at the agent", func() bool {
		var m admin.Mask
		check(t, h.api.Get(t.Context(), path+"/mask", nil, &m))
		return m.Revision == 2 && m.Agents[0].State == scheduler.MaskHeld
	})

	var m admin.Mask
	h.send(http.MethodDelete, path+"/mask", nil, &m)
	if m.Revision != 3 || m.Sum != 0 || m.Agents[0].State != scheduler.MaskHeld {
		t.Errorf("taken off: %+v", m)
	}
	shown("pictures without a mask again", len(g.since(0)), 2, func(v glimpse) bool { return v.left > 40 && v.right > 40 })

	// Under which mask each was taken never goes back.
	order := map[string]int{"": 0, first.String(): 1, second.String(): 2}
	at, under, byNominal := 0, map[string]int{}, map[fleet.Instant]string{}
	for _, c := range h.finish() {
		if c.Outcome == fleet.Captured {
			under[c.Fingerprint.Mask]++
			byNominal[c.Nominal] = c.Fingerprint.Mask
		}
	}
	for _, nominal := range slices.Sorted(maps.Keys(byNominal)) {
		now := order[byNominal[nominal]]
		if at >= 2 && now == 0 {
			now = 3 // taken off
		}
		if now < at {
			t.Errorf("at %s mask %d, after %d", nominal, now, at)
		}
		at = now
	}
	if at != 3 || under[first.String()] < 5 || under[second.String()] < 3 {
		t.Errorf("captures under each mask: %v", under)
	}
}

// TestMaskOfTwoAgents: whoever takes a masked camera over takes it under its
// mask, from the first frame on.
func TestMaskOfTwoAgents(t *testing.T) {
	t.Parallel()
	h := newHouse(t, small("gate"))
	boxes := []*box{h.box("one"), h.box("two")}
	h.edge = boxes[0].edge
	h.apply(`{name: look, select: "*", every: 1s, lead: 5s, deadline: 3s}`)
	// Pictures after t, and who took the last of them: that may be the other
	// agent than before, as both came one after the other.
	server := func(t fleet.Instant) (agent fleet.AgentID, n int) {
		for _, c := range h.captures() {
			if c.Outcome == fleet.Captured && c.At-fleet.Instant(c.BoundMS) > t {
				agent = c.Agent
				n++
			}
		}
		return agent, n
	}
	wait(t, "pictures and both agents", func() bool {
		a, err := client.All[admin.Agent](t.Context(), h.api, "agents")
		check(t, err)
		_, n := server(0)
		return n >= 2 && len(a) == 2 && a[0].Connected && a[0].Able.Masks && a[1].Connected && a[1].Able.Masks
	})
	var m admin.Mask
	h.send(http.MethodPut, "cameras/"+h.byName["gate"].String()+"/mask", json.RawMessage(`{"rectangles":[{"x":0,"y":0,"width":0.5,"height":1}]}`), &m)
	set := fleet.At(time.Now())
	for _, a := range m.Agents {
		if a.State != scheduler.MaskHeld {
			t.Errorf("%s: %s", a.Agent, a.State)
		}
	}
	var first fleet.AgentID
	wait(t, "pictures under the mask", func() bool {
		agent, n := server(set)
		first = agent
		return n >= 3
	})
	var away *box
	for _, b := range boxes {
		if b.edge.Stats().Line.Agent == first {
			b.off()
			away = b
		} else {
			h.edge = b.edge
		}
	}
	off := fleet.At(time.Now())
	wait(t, "pictures of the other agent", func() bool { now, n := server(off); return n >= 3 && now != first })
	// What it was at when it was switched off is its own until it tells.
	away.on()
	under := map[fleet.AgentID]int{}
	for _, c := range h.finish() {
		if c.Outcome != fleet.Captured || c.At-fleet.Instant(c.BoundMS) <= set {
			continue
		}
		under[c.Agent]++
		if c.Fingerprint.Mask != m.Sum.String() {
			t.Errorf("%s captured %s under the mask %q", c.Agent, c.Occurrence, c.Fingerprint.Mask)
		}
	}
	if len(under) != 2 {
		t.Errorf("captures under the mask: %v", under)
	}
}
