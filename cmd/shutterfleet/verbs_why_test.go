package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

func TestCamerasWhy(t *testing.T) {
	c := newTerminal(t, "operator")
	id := fleet.CameraID(1).String()
	if code, _, errs := c.run("cameras", "why", id); code != 1 || !strings.Contains(errs, "no agent is connected") {
		t.Errorf("without an agent: %d %s", code, errs)
	}
	broken := false
	c.f.Agent = func(_ context.Context, _ scheduler.Command, progress func(json.RawMessage)) (json.RawMessage, error) {
		e := fleet.Explanation{Subject: "it", Rungs: []fleet.Rung{{Name: "route", Result: fleet.RungOK, Detail: "via\x1b[2J eth0"}}}
		if broken {
			e.Rungs = append(e.Rungs, fleet.Rung{Name: "ports", Result: fleet.RungFailed, Detail: "silent: 80", Fix: "check its cable"})
		}
		for _, r := range e.Rungs {
			b, err := json.Marshal(r)
			if err != nil {
				return nil, err
			}
			progress(b)
		}
		return json.Marshal(e)
	}
	code, out, errs := c.run("cameras", "why", id)
	if code != 0 || !strings.Contains(out, "route          ok ") || strings.Contains(out, "\x1b") {
		t.Errorf("%d %q %s", code, out, errs)
	}
	broken = true
	code, out, errs = c.run("cameras", "why", "192.0.2.7", "--site", "home")
	if code != 1 || !strings.Contains(out, "=> check its cable") || !strings.Contains(errs, `it breaks at "ports"`) {
		t.Errorf("%d %q %s", code, out, errs)
	}
	code, out, _ = c.run("cameras", "why", id, "-o", "json")
	var e admin.Explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != 1 || e.Failed != "ports" || len(e.Rungs) != 2 {
		t.Errorf("%v: %d %s", err, code, out)
	}
	for _, wrong := range [][]string{{"cameras", "why"}, {"cameras", "why", "gate"}, {"cameras", "why", "192.0.2.7"}} {
		if code, _, errs := c.run(wrong...); code != 2 || errs == "" {
			t.Errorf("%v: %d %s", wrong, code, errs)
		}
	}
}

func TestCamerasReboot(t *testing.T) {
	c := newTerminal(t, "operator")
	n := 0
	c.f.Agent = func(context.Context, scheduler.Command, func(json.RawMessage)) (json.RawMessage, error) {
		n++
		return json.RawMessage(`{"message":"bye"}`), nil
	}
	id := fleet.CameraID(1).String()
	answer := func(text string) (string, error) {
		root := rootCommand()
		var out bytes.Buffer
		root.SetArgs([]string{"cameras", "reboot", id})
		root.SetIn(strings.NewReader(text))
		root.SetOut(&out)
		root.SetErr(&out)
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	for _, no := range []string{"", "n\n", "maybe\n"} {
		if out, err := answer(no); err == nil || n != 0 || !strings.Contains(out, "Restart camera 1 ("+id+")?") {
			t.Errorf("answer %q: %v, %d restarts\n%s", no, err, n, out)
		}
	}
	if out, err := answer("y\n"); err != nil || n != 1 || !strings.Contains(out, "it says: bye") {
		t.Errorf("answer y: %v, %d restarts\n%s", err, n, out)
	}
	var v admin.Reboot
	if c.json(&v, "cameras", "reboot", id, "--yes"); v.Message != "bye" || n != 2 {
		t.Errorf("%+v, %d restarts", v, n)
	}
}
