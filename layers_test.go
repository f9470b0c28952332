package shutterfleet_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/shutterfleet/shutterfleet"

// layers is the import table of the house: for each package, the packages of
// this module that its non-test files may import. A pattern ends in /... when
// it means a folder and all below it. A new package adds its own line here in
// the change that makes it; ARCHITECTURE.md explains the order.
var layers = map[string][]string{
	"fleet":              {},
	"fleet/portable":     {},
	"fleet/calendar":     {"fleet", "fleet/portable"},
	"fleet/calendar/ics": {},
	"fleet/wire":         {"fleet"},

	"capture/codec":        {"fleet"},
	"capture/codec/jpeg":   {"fleet", "capture/codec"},
	"capture/codec/cabac":  {},
	"capture/codec/rbsp":   {},
	"capture/codec/h264":   {"fleet", "capture/codec", "capture/codec/cabac", "capture/codec/rbsp"},
	"capture/codec/h265":   {"fleet", "capture/codec", "capture/codec/cabac", "capture/codec/rbsp"},
	"capture/codec/worker": {"fleet", "capture/codec"},
	"capture/codec/opencv": {"fleet", "capture/codec"},
	"capture/quality":      {"fleet", "fleet/portable", "capture/codec"},
	"capture/phash":        {"fleet", "fleet/portable", "capture/codec"},
	"capture/pdq":          {"fleet", "fleet/portable", "capture/codec"},
	"capture":              {"fleet", "capture/..."},

	"protocols/guard":       {"fleet"},
	"protocols/lan":         {"fleet"},
	"protocols/wsdiscovery": {"fleet", "protocols/guard", "protocols/lan"},
	"protocols/mdns":        {"fleet", "protocols/guard", "protocols/lan"},
	"protocols/upnp":        {"fleet", "protocols/guard", "protocols/lan"},
	"protocols/sweep":       {"fleet"},
	"protocols/onvif":       {"fleet", "protocols/guard"},
	"protocols/rtsp":        {"fleet", "protocols/guard"},
	"protocols/httpcam":     {"fleet", "protocols/guard"},
	"protocols/vendor":      {"fleet", "protocols/guard"},
	"protocols/camtest":     {"fleet", "protocols/guard"},
	"protocols":             {"fleet", "protocols/..."},

	"agent/store":     {"fleet"},
	"agent/uplink":    {"fleet", "fleet/wire"},
	"agent/standing":  {"fleet", "fleet/calendar", "fleet/wire"},
	"agent/meter":     {"fleet"},
	"agent/runner":    {"fleet", "fleet/calendar"},
	"agent/inventory": {"fleet", "protocols"},
	"agent":           {"fleet", "fleet/calendar", "agent/...", "capture", "capture/quality", "firmware", "firmware/install"},

	"scheduler/wheel":   {"fleet"},
	"scheduler/shard":   {"fleet"},
	"scheduler/store":   {"fleet", "fleet/wire"},
	"scheduler":         {"fleet", "fleet/calendar", "fleet/calendar/ics", "fingerprint", "firmware", "firmware/rollout", "scheduler/wheel", "scheduler/shard", "scheduler/store"},
	"scheduler/gateway": {"fleet", "fleet/wire", "scheduler", "firmware"},
	"scheduler/admin":   {"fleet", "fleet/calendar", "scheduler", "fingerprint", "firmware", "capture"},
}

// pure packages use the standard library and the packages of their line only.
var pure = []string{"fleet", "fleet/portable", "fleet/calendar", "fleet/calendar/ics", "scheduler/wheel"}

// commands join packages freely, each its own side; only these join both sides.
var bothSides = []string{"cmd/shutterfleet"}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestLayers(t *testing.T) {
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		switch {
		case name == "":
			continue
		case strings.HasPrefix(name, "cmd/"):
			checkCommand(t, name, p.Imports)
			continue
		case isTestHelper(name):
			continue
		}
		allowed, ok := layers[name]
		if !ok {
			t.Errorf("%s has no line in layers: add one with what it may import", name)
			continue
		}
		for _, imp := range p.Imports {
			inner, own := strings.CutPrefix(imp, module+"/")
			switch {
			case own && !slices.ContainsFunc(allowed, func(a string) bool { return matches(a, inner) }):
				t.Errorf("%s imports %s: its line in layers allows %v", name, inner, allowed)
			case !own && slices.Contains(pure, name) && strings.Contains(strings.Split(imp, "/")[0], "."):
				t.Errorf("%s is pure and imports %s", name, imp)
			}
		}
	}
}

// TestOpenCVIsOptional: the programs have gocv by its tag alone.
func TestOpenCVIsOptional(t *testing.T) {
	has := func(args ...string) bool {
		return slices.ContainsFunc(list(t, append(args, "-deps", "./cmd/...")...), func(p listed) bool { return strings.HasPrefix(p.ImportPath, "gocv.io/") })
	}
	if has() {
		t.Error("the default build has gocv in it: it would need OpenCV's libraries")
	}
	if !has("-tags", "gocv") {
		t.Error("the tag gocv brings no gocv")
	}
}

// checkCommand holds the two sides apart in the programs.
func checkCommand(t *testing.T, name string, imports []string) {
	t.Helper()
	if slices.Contains(bothSides, name) {
		return
	}
	var agent, centre string
	for _, imp := range imports {
		switch inner := strings.TrimPrefix(imp, module+"/"); {
		case inner == "agent", strings.HasPrefix(inner, "agent/"), inner == "cmd/internal/edge":
			agent = inner
		case inner == "scheduler", strings.HasPrefix(inner, "scheduler/"), inner == "cmd/internal/centre":
			centre = inner
		}
	}
	if agent != "" && centre != "" {
		t.Errorf("%s joins both sides: it imports %s and %s", name, agent, centre)
	}
}

// isTestHelper says which packages exist for tests: a conformance suite or a
// bench stands beside what it measures and is named after it.
func isTestHelper(name string) bool {
	base, parent := path.Base(name), path.Base(path.Dir(name))
	return strings.HasSuffix(base, "test") && base != "camtest" || base == parent+"bench" ||
		strings.Contains(name, "/internal/") || strings.Contains(name, "/testdata/") || strings.HasPrefix(name, "test/")
}

func matches(pattern, name string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(name, dir+"/")
	}
	return pattern == name
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Standard"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var ps []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return ps
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
}
