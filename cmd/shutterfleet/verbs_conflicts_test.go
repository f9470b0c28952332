package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

func TestCamerasConflicts(t *testing.T) {
	c := newTerminal(t, "operator")
	id := fleet.CameraID(1).String()
	if code, _, errs := c.run("cameras", "conflicts"); code != 0 || !strings.Contains(errs, "no conflicts") {
		t.Errorf("without any: %d %s", code, errs)
	}
	if code, _, _ := c.run("cameras", "conflicts", id); code != 1 {
		t.Errorf("a camera without any: exit code %d", code)
	}
	rival := func(n byte) fleet.Rival {
		return fleet.Rival{
			Key: "mac:" + string('a'+rune(n)), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 80 + n})},
			Claims: []fleet.Claim{{Kind: fleet.ClaimEPR, Value: "urn:x"}}, Evidence: []fleet.Evidence{{Kind: "epr", Value: "x", Weight: 160}, {Kind: "hardware", Weight: -100}},
		}
	}
	c.f.Contradict(1, rival(1), rival(2))
	_, out, _ := c.run("cameras", "conflicts", "--site", "home")
	if !strings.Contains(out, id) || !strings.Contains(out, "mac:b,mac:c") || !strings.Contains(out, "192.0.2.81,192.0.2.82") {
		t.Errorf("the list:\n%s", out)
	}
	_, out, _ = c.run("cameras", "conflicts", id)
	for _, want := range []string{"192.0.2.7", "epr urn:x", "+160 epr x", "-100 hardware", "never", "two answer as one"} {
		if !strings.Contains(out, want) {
			t.Errorf("side by side, want %q in it:\n%s", want, out)
		}
	}
	var one admin.Conflict
	if c.json(&one, "cameras", "conflicts", id); len(one.Rivals) != 2 {
		t.Errorf("as JSON: %+v", one)
	}
	_, out, _ = c.run("cameras", "show", id)
	if !strings.Contains(out, "conflict") || !strings.Contains(out, "cameras resolve") {
		t.Errorf("cameras show:\n%s", out)
	}

	for name, args := range map[string][]string{
		"neither": {id}, "both": {id, "--same", "--different"}, "no id": {"--same"}, "no camera": {"gate", "--same"},
	} {
		if code, _, _ := c.run(append([]string{"cameras", "resolve"}, args...)...); code != 2 {
			t.Errorf("%s: exit code %d, want 2", name, code)
		}
	}
	if code, _, errs := c.run("cameras", "resolve", id, "--different"); code != 1 || !strings.Contains(errs, "several") {
		t.Errorf("without the rival's name: %d %s", code, errs)
	}
	if code, out, errs := c.run("cameras", "resolve", id, "--different", "--rival", "mac:c"); code != 0 || !strings.Contains(out, "approved") {
		t.Errorf("decided: %d %s %s", code, out, errs)
	}
	if r := c.f.Resolved; len(r) != 1 || r[0].Same || r[0].Rival != "mac:c" || r[0].By == "" {
		t.Errorf("resolved %+v", r)
	}
}
