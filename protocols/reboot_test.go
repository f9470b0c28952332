package protocols

import (
	"context"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// restarting is a device that can be restarted at one of its addresses.
type restarting struct {
	camera
	works string
	fault error
	asked []string
}

func (r *restarting) Reboot(_ context.Context, t fleet.Target) (string, error) {
	u := t.Endpoints[0].URL
	r.asked = append(r.asked, u)
	if u != r.works {
		return "", r.fault
	}
	return "bye", nil
}

func TestReboot(t *testing.T) {
	two := fleet.Target{Device: "d", Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://c/"}, {Protocol: fleet.ONVIF, URL: "a"}, {Protocol: fleet.ONVIF, URL: "b"}}}
	for name, c := range map[string]struct {
		device Describer
		target fleet.Target
		says   string
		asked  int
	}{
		"at its second address":  {&restarting{works: "b", fault: fleet.Errorf(fleet.CauseUnreachable, "no route")}, two, "bye", 2},
		"a refused login is one": {&restarting{works: "b", fault: fleet.Errorf(fleet.CauseUnauthorized, "not you")}, two, "not you", 1},
		"a silence may be a yes": {&restarting{works: "b", fault: fleet.Errorf(fleet.CauseTimeout, "silent")}, two, "silent", 1},
		"nobody there":           {&restarting{fault: fleet.Errorf(fleet.CauseUnreachable, "no route")}, two, "no route", 2},
		"no ONVIF":               {&restarting{}, fleet.Target{Endpoints: two.Endpoints[:1]}, "only that can restart it", 0},
		"an older agent":         {&camera{}, two, "update it", 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := guard.New(guard.Options{})
			defer g.Close()
			m := newMux(Options{Guard: g}, c.device, &camera{}, &camera{})
			says, err := m.Reboot(t.Context(), c.target)
			if err != nil {
				says = err.Error()
			}
			asked := 0
			if r, ok := c.device.(*restarting); ok {
				asked = len(r.asked)
			}
			if !strings.Contains(says, c.says) || asked != c.asked {
				t.Errorf("%q after %d questions, want %q after %d", says, asked, c.says, c.asked)
			}
		})
	}
}
