//go:build long

package portable_test

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestLongNothingIsFused: where hashes and moments are computed, the compiler
// for arm64 finds no product that it may join with a sum. (In capture/quality it
// finds some, all of whole numbers, which are exact either way.)
func TestLongNothingIsFused(t *testing.T) {
	const module = "github.com/shutterfleet/shutterfleet/"
	compile := func(pkg string) string {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-S", module+pkg)
		cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	fused := regexp.MustCompile(`\(([^()]+\.go:\d+)\)\s+(FN?M(?:ADD|SUB)[SD])\b`)
	for _, pkg := range []string{"fleet", "fleet/portable", "fleet/calendar", "capture", "capture/codec", "capture/codec/jpeg", "capture/codec/h264", "capture/pdq", "capture/phash"} {
		for _, m := range fused.FindAllStringSubmatch(compile(pkg), -1) {
			t.Errorf("%s: %s: write float64(a*b) + c", m[1], m[2])
		}
	}
	if !fused.MatchString(compile("capture/quality")) {
		t.Error("nothing is found in capture/quality either: does this test still read what the compiler prints?")
	}
}
