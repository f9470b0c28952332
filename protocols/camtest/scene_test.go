package camtest

import (
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestDumpScenes(t *testing.T) {
	dir := os.Getenv("CAMTEST_PICTURES")
	if dir == "" {
		t.Skip("CAMTEST_PICTURES names no folder to write pictures to")
	}
	for _, s := range Scenes() {
		v, ok := newView(s, 42, 640, 360)
		if !ok {
			t.Fatalf("no drawing of %s", s)
		}
		f, err := os.Create(filepath.Join(dir, string(s)+".png"))
		if err != nil {
			t.Fatal(err)
		}
		c := v.draw(time.Unix(1_900_000_021, 0))
		c.overlay("camera "+string(s), "2026-03-01 06:00:21")
		if err := png.Encode(f, c.img); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
}
