//go:build !race

package e2e

import (
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// TestTrust: a camera speaks HTTPS under a key of its own, and one day another
// key answers in its place. No login is sent to that, though the agent has
// started again meanwhile, until an operator says that it is the camera's.
func TestTrust(t *testing.T) {
	t.Parallel()
	cams := small("gate")
	cams[0].Open, cams[0].HTTPS = false, true
	h := newHouse(t, cams)
	gate := h.byName["gate"]
	b := h.box("box")
	h.apply(`{name: quick, select: "*", every: 1s, lead: 1s, deadline: 3s}`)
	newest := func() (cause fleet.Cause, detail string, ok bool) {
		all := h.captures()
		if len(all) == 0 {
			return "", "", false
		}
		c := all[len(all)-1]
		return c.Cause, c.Detail, true
	}
	pictures := func() bool {
		cause, _, ok := newest()
		return ok && cause == ""
	}
	refused := func() bool {
		cause, detail, _ := newest()
		return cause == fleet.CauseUnauthorized && strings.Contains(detail, "another TLS key") && strings.Contains(detail, "cameras trust")
	}
	wait(t, "pictures", pictures)
	b.off() // a connection that is open stays the camera's
	logins := h.town.Stats("gate")
	check(t, h.town.SetFault("gate", camtest.ChangedKey, true))
	b.on()
	wait(t, "the other key to be noticed", refused)
	if now := h.town.Stats("gate"); now.Accepted != logins.Accepted || now.Refused != logins.Refused {
		t.Errorf("logins went to another key: %+v, then %+v", logins, now)
	}
	check(t, h.api.Create(t.Context(), "cameras/"+gate.String()+"/trust", nil, struct{}{}, nil))
	wait(t, "pictures of the camera that is trusted", pictures)
}
