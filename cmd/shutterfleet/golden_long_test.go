//go:build long

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// TestLongWrongBuildRefuses builds the program so that it computes other hashes
// than it must have: it reports none, alone or as an agent.
func TestLongWrongBuildRefuses(t *testing.T) {
	const w, h = 320, 200
	picture := filepath.Join(t.TempDir(), "picture.pgm")
	if err := os.WriteFile(picture, append([]byte("P5 320 200 255\n"), codectest.Gen("clouds", w, h)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, right, wrong, said string }{
		"as it is":            {"pdq/pdq.go", "", "", ""},
		"another PDQ":         {"pdq/pdq.go", "if v > median {", "if v > median/2 {", "pdq: the golden picture"},
		"another PDQ quality": {"pdq/pdq.go", "min(100, sum/90)", "min(100, sum/91)", "pdq: the golden picture"},
		"another pHash":       {"phash/phash.go", "sorted[31] + sorted[32]", "sorted[30] + sorted[32]", "phash: the golden picture"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, err := filepath.Abs(filepath.Join("../../capture", c.file))
			if err != nil {
				t.Fatal(err)
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(source), c.right) {
				t.Fatalf("%s has no %q", c.file, c.right)
			}
			changed := filepath.Join(dir, "changed.go")
			if err := os.WriteFile(changed, []byte(strings.ReplaceAll(string(source), c.right, c.wrong)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
			if err != nil {
				t.Fatal(err)
			}
			list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "shutterfleet")
			if err := os.WriteFile(list, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			build := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "-o", program, ".")
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("build: %v: %s", err, out)
			}
			for _, args := range [][]string{{"fingerprint", picture}, {"dev", "--headless", "--for", "2s"}} {
				cmd := exec.CommandContext(t.Context(), program, args...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				if (err == nil) != (c.said == "") || !strings.Contains(string(out), c.said) {
					t.Errorf("%s: %v, want %q in %s", args, err, c.said, out)
				}
			}
		})
	}
}
