package pdq_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// The reference itself is not part of this repository: PDQ_REFERENCE names its
// program benchmark-photo-hasher, of pdq/cpp in ThreatExchange, as its own makefile
// builds it. It reads PGM by itself. Pictures of more than 512 samples a side it
// makes 512x512 before it hashes them, unless DOWNSAMPLE_DIMS in its io/pdqio.cpp
// is set higher; it tells how many samples it hashed, so both builds will do. The
// time that it tells is of the hashing alone, without the reading.
func reference(t testing.TB) string {
	t.Helper()
	program := os.Getenv("PDQ_REFERENCE")
	if program == "" {
		t.Skip("PDQ_REFERENCE names no program; the vectors of TestSynthetic are the reference's, and bear the parity")
	}
	return program
}

// referred is what the program says of one picture.
type referred struct {
	hash            string
	quality, pixels int
	took            time.Duration
}

// refer hashes the pictures of a folder, n times in all, and returns what it
// says of each by name, with the shortest time.
func refer(t testing.TB, program, dir string, n int) map[string]referred {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-v", "-n", strconv.Itoa(n), dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: is it ThreatExchange's benchmark-photo-hasher?", program, err)
	}
	all, name, r := map[string]referred{}, "", referred{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ": ")
		switch key {
		case "File":
			name, r = filepath.Base(value), referred{}
		case "Hash":
			r.hash = value
		case "Quality":
			r.quality = number(t, value)
		case "Image height * width":
			r.pixels = number(t, value)
		case "Hash seconds":
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			r.took = time.Duration(seconds * float64(time.Second))
			if old, ok := all[name]; ok {
				r.took = min(r.took, old.took)
			}
			all[name] = r
		}
	}
	return all
}

func writePGM(t testing.TB, file string, p codec.Plane) {
	t.Helper()
	b := fmt.Appendf(nil, "P5\n%d %d\n255\n", p.Width, p.Height)
	for y := range p.Height {
		b = append(b, p.Row(y)...)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// street is a camera's frame.
func street(t testing.TB, scene camtest.Scene, seed uint64, w, h int) codec.Plane {
	t.Helper()
	img, err := camtest.Draw(scene, seed, w, h, time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	p := codec.Plane{Pix: make([]byte, w*h), Width: w, Height: h, Stride: w}
	for i := range p.Pix {
		r, g, b, _ := img.At(i%w, i/w).RGBA()
		p.Pix[i] = byte(codec.Luma(byte(r>>8), byte(g>>8), byte(b>>8)) + 0.5)
	}
	return p
}

// nearest is how the program makes a picture 512x512.
func nearest(p codec.Plane) codec.Plane {
	const n = 512
	q := codec.Plane{Pix: make([]byte, n*n), Width: n, Height: n, Stride: n}
	for y := range n {
		for x := range n {
			q.Pix[y*n+x] = p.Row(y * p.Height / n)[x*p.Width/n]
		}
	}
	return q
}

// TestReference: hash and quality are the C++ reference's, wherever no two
// coefficients tie at the median up to its float32.
func TestReference(t *testing.T) {
	program := reference(t)
	planes := map[string]codec.Plane{}
	dir := t.TempDir()
	add := func(name string, p codec.Plane) {
		name += ".pgm"
		planes[name] = p
		writePGM(t, filepath.Join(dir, name), p)
	}
	for _, name := range codectest.Names() {
		for _, size := range [][2]int{{64, 64}, {97, 61}, {320, 240}, {511, 384}, {512, 512}, {1280, 720}} {
			add(fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), codectest.Plane(name, size[0], size[1], size[0]))
		}
	}
	for _, scene := range camtest.Scenes() {
		for seed := range uint64(5) {
			add(fmt.Sprintf("%s-%d", scene, seed), street(t, scene, seed, 480, 270))
			add(fmt.Sprintf("%s-%d-large", scene, seed), street(t, scene, seed, 1920, 1080))
		}
	}
	firmOnes, whole := 0, 0
	var h pdq.Hasher
	for name, r := range refer(t, program, dir, len(planes)) {
		p, ok := planes[name]
		if !ok {
			t.Fatalf("%s was not asked for", name)
		}
		delete(planes, name)
		if p.Width*p.Height == r.pixels {
			whole++
		} else {
			p = nearest(p)
		}
		g := plain(p)
		m := model(&g)
		got, quality := h.Sum(p)
		if r.quality < m.qualityLo || r.quality > m.qualityHi || m.qualityLo == m.qualityHi && r.quality != int(quality) {
			t.Errorf("%s: quality %d, the reference's %d", name, quality, r.quality)
		}
		if m.gap < firm {
			continue
		}
		firmOnes++
		if got.String() != r.hash {
			t.Errorf("%s: %s, the reference's %s", name, got, r.hash)
		}
	}
	if len(planes) > 0 || firmOnes < 100 {
		t.Errorf("%d firm frames were compared, of %d nothing was said", firmOnes, len(planes))
	}
	t.Logf("%d firm frames are equal; %d pictures were hashed whole", firmOnes, whole)
}

// BenchmarkBesideReference measures a 1080p frame beside the reference's program,
// in turn; the shortest time of each counts. A build of it that reduces pictures
// first is compared on the 512x512 that it hashes.
func BenchmarkBesideReference(b *testing.B) {
	program := reference(b)
	dir := b.TempDir()
	p := street(b, camtest.StreetDay, 1, 1920, 1080)
	writePGM(b, filepath.Join(dir, "frame.pgm"), p)
	first := refer(b, program, dir, 1)["frame.pgm"]
	if first.pixels != p.Width*p.Height {
		p = nearest(p)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var h pdq.Hasher
	theirs, ours := first.took, time.Hour
	for b.Loop() {
		theirs = min(theirs, refer(b, program, dir, 5)["frame.pgm"].took)
		for range 20 {
			began := time.Now()
			got, _ := h.Sum(p)
			ours = min(ours, time.Since(began))
			if got.String() != first.hash {
				b.Fatalf("%s, the reference's %s", got, first.hash)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of both together: it says nothing
	b.ReportMetric(float64(p.Width*p.Height), "samples")
	b.ReportMetric(ours.Seconds()*1000, "ours-ms")
	b.ReportMetric(theirs.Seconds()*1000, "reference-ms")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "reference/ours")
}
