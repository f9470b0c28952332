package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// pgm writes a drawn picture, seen through turn, and returns its file.
func pgm(t *testing.T, scene string, w, h int, turn func(pix []byte, w, h int) ([]byte, int, int)) string {
	t.Helper()
	pix := codectest.Gen(scene, w, h)
	if turn != nil {
		pix, w, h = turn(pix, w, h)
	}
	file := filepath.Join(t.TempDir(), scene+".pgm")
	if err := os.WriteFile(file, append(fmt.Appendf(nil, "P5\n%d %d\n255\n", w, h), pix...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestFingerprintDihedral holds the eight hashes against those that
// ThreatExchange's own program gives the drawn pictures.
func TestFingerprintDihedral(t *testing.T) {
	f, err := os.Open("../../capture/pdq/testdata/pdq_dihedral.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := csv.NewReader(f).ReadAll()
	if err != nil || len(table) < 4 {
		t.Fatalf("%d rows: %v", len(table), err)
	}
	for _, row := range table[1:] {
		w, errW := strconv.Atoi(row[1])
		h, errH := strconv.Atoi(row[2])
		if errW != nil || errH != nil {
			t.Fatal(row)
		}
		file := pgm(t, row[0], w, h, nil)
		var got []struct {
			PDQ      string            `json:"pdq"`
			Dihedral map[string]string `json:"pdq_dihedral"`
		}
		code, stdout, stderr := fingerprint(t, "--dihedral", "-o", "json", file)
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || len(got) != 1 {
			t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
		}
		_, text, _ := fingerprint(t, "--dihedral", file)
		for i, name := range table[0][3:11] {
			want := row[3+i]
			if got[0].Dihedral[name] != want {
				t.Errorf("%s %s: %s, want %s", row[0], name, got[0].Dihedral[name], want)
			}
			found := false
			for line := range strings.Lines(text) {
				cells := strings.Fields(line)
				found = found || len(cells) == 4 && cells[1] == name && cells[2] == want
			}
			if !found {
				t.Errorf("%s: no row of %s in\n%s", row[0], name, text)
			}
		}
		if len(got[0].Dihedral) != 8 || got[0].PDQ != got[0].Dihedral["original"] {
			t.Errorf("%s: %v beside %s", row[0], got[0].Dihedral, got[0].PDQ)
		}
	}
	if _, stdout, _ := fingerprint(t, "-o", "json", pgm(t, "noise", 64, 64, nil)); strings.Contains(stdout, "pdq_dihedral") {
		t.Errorf("unasked: %s", stdout)
	}
}

// TestFingerprintCompareTurned turns the samples of a picture, and has the
// command say how.
func TestFingerprintCompareTurned(t *testing.T) {
	// from says which sample of the w x h picture comes to x, y.
	turned := func(across bool, from func(x, y, w, h int) (int, int)) func([]byte, int, int) ([]byte, int, int) {
		return func(pix []byte, w, h int) ([]byte, int, int) {
			ow, oh := w, h
			if across {
				ow, oh = h, w
			}
			out := make([]byte, 0, len(pix))
			for y := range oh {
				for x := range ow {
					sx, sy := from(x, y, w, h)
					out = append(out, pix[sy*w+sx])
				}
			}
			return out, ow, oh
		}
	}
	for _, c := range []struct {
		transform, says string
		turn            func([]byte, int, int) ([]byte, int, int)
	}{
		{"original", "byte for byte", nil},
		{"rotate90", "the same picture turned by 90 degrees counter-clockwise", turned(true, func(x, y, w, _ int) (int, int) { return w - 1 - y, x })},
		{"rotate180", "by 180", turned(false, func(x, y, w, h int) (int, int) { return w - 1 - x, h - 1 - y })},
		{"rotate270", "90 degrees clockwise", turned(true, func(x, y, _, h int) (int, int) { return y, h - 1 - x })},
		{"flipx", "top and bottom", turned(false, func(x, y, _, h int) (int, int) { return x, h - 1 - y })},
		{"flipy", "left and right", turned(false, func(x, y, w, _ int) (int, int) { return w - 1 - x, y })},
		{"flipplus1", "upper left", turned(true, func(x, y, _, _ int) (int, int) { return y, x })},
		{"flipminus1", "upper right", turned(true, func(x, y, w, h int) (int, int) { return w - 1 - y, h - 1 - x })},
	} {
		a, b := pgm(t, "glyphs", 640, 360, nil), pgm(t, "glyphs", 640, 360, c.turn)
		var d pictureDistance
		code, stdout, stderr := fingerprint(t, "--compare", "--dihedral", a, b, "-o", "json")
		if err := json.Unmarshal([]byte(stdout), &d); err != nil || code != 0 {
			t.Fatalf("%s: exit code %d, %v: %s%s", c.transform, code, err, stdout, stderr)
		}
		if d.Nearest == nil || d.Nearest.Transform != c.transform || d.Nearest.PDQ > pdqMatch || !d.Match || !strings.Contains(d.Meaning, c.says) {
			t.Errorf("%s: nearest %+v, match %v: %s", c.transform, d.Nearest, d.Match, d.Meaning)
		}
		if c.turn != nil {
			// Nobody who compares upright pictures finds it.
			if _, stdout, _ := fingerprint(t, "--compare", a, b); !strings.Contains(stdout, "different pictures") || strings.Contains(stdout, "nearest") {
				t.Errorf("%s, upright: %s", c.transform, stdout)
			}
		}
		if _, stdout, _ := fingerprint(t, "--compare", "--dihedral", a, b); !strings.Contains(stdout, c.transform+":") || !strings.Contains(stdout, c.says) {
			t.Errorf("%s: %s", c.transform, stdout)
		}
	}
	_, stdout, _ := fingerprint(t, "--compare", "--dihedral", pgm(t, "glyphs", 640, 360, nil), pgm(t, "blocks", 640, 360, nil))
	if !strings.Contains(stdout, "different pictures") {
		t.Errorf("unrelated pictures: %s", stdout)
	}
}
