package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestExamplesOfTheOperatorsGuide runs each command of docs/operators.md, in
// their order, beside the files that it shows.
func TestExamplesOfTheOperatorsGuide(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	c := newTerminal(t, "operator")
	for id := fleet.CameraID(2); id <= 3; id++ {
		c.f.Contradict(id, fleet.Rival{Key: "mac:ac:cc:8e:00:00:01"})
	}
	t.Chdir(t.TempDir())
	for _, file := range regexp.MustCompile("(?s)```json (\\S+)\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		if err := os.WriteFile(file[1], []byte(file[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		for line := range strings.Lines(block[1]) {
			args := arguments(strings.TrimSpace(line))
			if args[0] != "shutterfleet" {
				t.Errorf("no verb: %s", line)
				continue
			}
			if code, _, errs := c.run(args[1:]...); code != 0 {
				t.Errorf("%s: exit code %d: %s", strings.TrimSpace(line), code, errs)
			}
			ran++
		}
	}
	if r := c.f.Resolved; len(r) != 2 || r[0].Same || !r[1].Same {
		t.Errorf("resolved %+v", r)
	}
	if ran < 20 || len(c.f.Paused) != 0 || len(c.f.Asked) != 2 || c.f.Masks[1].Revision != 2 || c.f.Places["home"].Burst != 20 {
		t.Errorf("%d commands ran and left %v, %v", ran, c.f.Paused, c.f.Asked)
	}
}
