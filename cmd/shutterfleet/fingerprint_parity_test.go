//go:build !race

package main

import (
	"bytes"
	"encoding/csv"
	"image"
	"image/png"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// vector is a picture's file and what the reference says of it.
type vector struct {
	file    string
	pdq     fleet.PDQ
	quality int // -1: not stated
	class   string
	phash   *fleet.PHash
}

func table(t *testing.T, file string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("%s: %d rows, %v", file, len(all), err)
	}
	for _, cells := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = cells[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func vectorOf(t *testing.T, file, pdq, quality, class string) vector {
	t.Helper()
	v := vector{file: file, class: class}
	if err := v.pdq.UnmarshalText([]byte(pdq)); err != nil {
		t.Fatal(err)
	}
	v.quality = must(strconv.Atoi(quality))
	return v
}

// TestFingerprintParity has the command itself read the pictures of the parity
// tables, as anyone might: drawn ones always, and the photos of the folder that
// PDQ_VECTORS names, which are not part of this repository.
func TestFingerprintParity(t *testing.T) {
	dir := t.TempDir()
	var vectors []vector
	sizeOf := func(r map[string]string) (w, h int) { return must(strconv.Atoi(r["w"])), must(strconv.Atoi(r["h"])) }
	byName := map[string]int{}
	for _, r := range table(t, "../../capture/pdq/testdata/pdq_synthetic.csv") {
		w, h := sizeOf(r)
		name := r["name"] + r["w"] + "x" + r["h"]
		byName[name] = len(vectors)
		vectors = append(vectors, vectorOf(t, write(t, filepath.Join(dir, name+".pgm"), plate(r["name"], w, h)), r["pdq"], r["quality"], r["class"]))
	}
	for _, r := range table(t, "../../capture/pdq/testdata/pdq_synthetic_rgb.csv") {
		w, h := sizeOf(r)
		m := image.NewNRGBA(image.Rect(0, 0, w, h))
		for c, name := range []string{r["r"], r["g"], r["b"]} {
			for i, v := range codectest.Gen(name, w, h) {
				m.Pix[4*i+c], m.Pix[4*i+3] = v, 255
			}
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, vectorOf(t, write(t, filepath.Join(dir, r["r"]+r["g"]+r["b"]+r["w"]+".png"), b.Bytes()), r["pdq"], r["quality"], r["class"]))
	}
	for _, r := range table(t, "../../capture/phash/testdata/phash64_imagehash.csv") {
		if at, ok := byName[r["name"]+r["w"]+"x"+r["h"]]; ok {
			var p fleet.PHash
			if err := p.UnmarshalText([]byte(r["phash"])); err != nil {
				t.Fatal(err)
			}
			vectors[at].phash = &p
		}
	}
	if photos := os.Getenv("PDQ_VECTORS"); photos != "" {
		for _, r := range table(t, filepath.Join(photos, "pdq_photos_gray.csv")) {
			vectors = append(vectors, vectorOf(t, filepath.Join(photos, "photos", r["file"]), r["pdq"], r["quality"], r["class"]))
		}
		for _, r := range table(t, filepath.Join(photos, "pdq_photos_rgb.csv")) {
			if r["file"] != "-" {
				vectors = append(vectors, vectorOf(t, filepath.Join(photos, "photos", r["file"]), r["pdq_rgb_luma"], r["quality_rgb"], "decoded"))
			}
		}
	}
	var args []string
	for _, v := range vectors {
		args = append(args, v.file)
	}
	out, code, stderr := judged(t, args...)
	if code != 0 || len(out) != len(vectors) {
		t.Fatalf("exit code %d, %d of %d: %s", code, len(out), len(vectors), stderr)
	}
	count, hashes, equal := map[string]int{}, 0, 0
	for i, v := range vectors {
		x := out[i]
		count[v.class]++
		d := pdqDistance(x.PDQ, v.pdq)
		most := 0
		switch v.class {
		case "thin":
			most = 2
		case "undefined":
			most = 256
		case "decoded": // another decoder: upstream's own tolerance, for pictures of that quality
			if most = 10; v.quality < 80 {
				most = 256
			}
		}
		if d > most || v.class != "decoded" && x.PDQQuality != v.quality {
			t.Errorf("%s (%s): %d bits off, quality %d, want at most %d, quality %d", filepath.Base(v.file), v.class, d, x.PDQQuality, most, v.quality)
		}
		if v.phash != nil && v.class != "undefined" {
			hashes++
			if d := bits.OnesCount64(uint64(x.PHash ^ *v.phash)); d > 2 {
				t.Errorf("%s: pHash %s is %d bits off %s", filepath.Base(v.file), x.PHash, d, *v.phash)
			} else if d == 0 {
				equal++
			}
		}
	}
	t.Logf("PDQ %v; pHash: %d, %d of them equal", count, hashes, equal)
	if count["firm"] < 40 || hashes < 20 {
		t.Errorf("PDQ %v and %d pHashes prove little", count, hashes)
	}
}
