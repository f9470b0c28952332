package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

func TestCapturesLsTellsVerdicts(t *testing.T) {
	c := newTerminal(t, "viewer")
	for want, v := range map[string]fleet.Verdict{
		" ok ":             {Fault: fleet.FaultNone},
		" learning ":       {Fault: fleet.FaultNone, Learning: true},
		" covered ":        {Fault: fleet.FaultCovered, Score: 0.7, Metric: "blocks lost", Value: 0.8, Limit: 0.5},
		" moved +12%,-6% ": {Fault: fleet.FaultMoved, Score: 0.7, Metric: "correlation", Value: 0.2, Limit: 0.75, ShiftX: 0.12, ShiftY: -0.06},
	} {
		for i := range c.f.Taken {
			if c.f.Taken[i].Camera == 1 {
				c.f.Taken[i].Reading.Verdict = v
			}
		}
		code, out, errs := c.run("captures", "ls", "--camera", fleet.CameraID(1).String())
		if code != 0 || !strings.Contains(out, "VERDICT") || !strings.Contains(out, want) {
			t.Errorf("%d %s: %s\nlacks %q", code, errs, out, want)
		}
	}
}

func TestCamerasAccept(t *testing.T) {
	c := newTerminal(t, "operator")
	id := fleet.CameraID(1).String()
	result := fleet.RelearnResult{Lasting: fleet.FaultMoved, Since: time.Date(2027, 3, 1, 5, 30, 0, 0, time.UTC)}
	c.f.Agent = func(context.Context, scheduler.Command, func(json.RawMessage)) (json.RawMessage, error) {
		return json.Marshal(result)
	}
	if code, out, errs := c.run("cameras", "accept", id); code != 0 || !strings.Contains(out, "it was moved since 2027-03-01 05:30:00Z") {
		t.Errorf("%d %q %s", code, out, errs)
	}
	var v admin.Accepted
	if c.json(&v, "cameras", "accept", id); v.Lasting != fleet.FaultMoved || v.Camera != 1 {
		t.Errorf("%+v", v)
	}
	result = fleet.RelearnResult{}
	if code, out, errs := c.run("cameras", "accept", id); code != 0 || !strings.Contains(out, "nothing was wrong with it") {
		t.Errorf("%d %q %s", code, out, errs)
	}
	if code, _, _ := c.run("cameras", "accept"); code != 2 {
		t.Errorf("without a camera: exit code %d", code)
	}
}
