package camtest

import (
	"bytes"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var pictures = flag.String("pictures", "", "folder to write a picture of each scene to")

func TestScenes(t *testing.T) {
	start := time.Date(2026, 3, 1, 6, 0, 21, 0, time.UTC)
	draw := func(s Scene, seed uint64, at time.Time) []byte {
		v, ok := newView(s, seed, 320, 184)
		if !ok {
			t.Fatalf("nothing draws %s", s)
		}
		return slices.Clone(v.draw(at).img.Pix)
	}
	for _, s := range Scenes() {
		t.Run(string(s), func(t *testing.T) {
			a := draw(s, 42, start)
			if !bytes.Equal(a, draw(s, 42, start)) {
				t.Error("the same moment looks different the second time")
			}
			if bytes.Equal(a, draw(s, 42, start.Add(5*time.Second))) {
				t.Error("nothing changed in 5 s")
			}
			if bytes.Equal(a, draw(s, 43, start)) {
				t.Error("two seeds look the same")
			}
			v, _ := newView(s, 42, 320, 184)
			v.draw(start.Add(-3 * time.Second))
			if !bytes.Equal(v.draw(start).img.Pix[:320*4*100], a[:320*4*100]) && drawings[s].hold == 0 {
				t.Error("a kept background spoils the picture")
			}
			for i := 3; i < len(a); i += 4 {
				if a[i] != 255 {
					t.Fatalf("pixel %d is transparent", i/4)
				}
			}
			if *pictures != "" {
				writePicture(t, s, start)
			}
		})
	}
}

func writePicture(t *testing.T, s Scene, at time.Time) {
	v, _ := newView(s, 42, 896, 504)
	c := v.draw(at)
	c.overlay("camera "+string(s), at.Format("2006-01-02 15:04:05"))
	var b bytes.Buffer
	if err := png.Encode(&b, c.img); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, string(s)+".png"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFontHasItsLetters(t *testing.T) {
	c := newCanvas(64, 32)
	for i, g := range glyphOrder {
		blank := glyphs[i] == [7]uint8{}
		if blank != (g == ' ') {
			t.Errorf("glyph %q: blank is %v", g, blank)
		}
	}
	if w := c.text(0, 0, 1, rgb(0xffffff), "a-1 %"); w != 30 {
		t.Errorf("text is %v wide, want 30", w)
	}
}
