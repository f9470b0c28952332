package capture_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// behind returns a picture that differs from street where the mask hides, and
// there in every sample, with hard edges and noise: what leaves most traces.
func behind(m *fleet.Mask, w, h int, seed uint64) *image.RGBA {
	out := street(w, h)
	r := rand.New(rand.NewPCG(seed, 1))
	for y := range h {
		for x := range w {
			for _, v := range m.Rectangles {
				cx, cy := (float64(x)+0.5)/float64(w), (float64(y)+0.5)/float64(h)
				if cx >= v.X && cx <= v.X+v.Width && cy >= v.Y && cy <= v.Y+v.Height {
					out.SetRGBA(x, y, color.RGBA{uint8(r.IntN(256)), uint8(255 * ((x + y) & 1)), uint8(r.IntN(256)), 255})
				}
			}
		}
	}
	return out
}

func rectangle(x, y, w, h float64) *fleet.Mask {
	return &fleet.Mask{Rectangles: []fleet.Rectangle{{X: x, Y: y, Width: w, Height: h}}}
}

// told is all that an agent tells of a frame but its SHA-256 and its size.
func told(ctx context.Context, t interface{ Fatal(...any) }, r *capture.Reader, data []byte, m *fleet.Mask) string {
	f := fleet.Frame{Codec: fleet.JPEG, Data: data}
	in, err := r.Inspect(ctx, f, capture.Probe{Mask: m})
	if err != nil {
		t.Fatal(err)
	}
	thumb, err := r.Thumbnail(ctx, f, m)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v %+v %x %x", in.Fingerprint, in.Quality, in.Thumbnail, thumb)
}

// TestNoTraceInJPEG: of a camera that codes JPEG, nothing of what is hidden is in
// anything that is told of its pictures, wherever the mask's edges lie in them.
func TestNoTraceInJPEG(outer *testing.T) {
	r := reader(outer, capture.Options{Width: 1})
	rapid.Check(outer, func(t *rapid.T) {
		w, h := rapid.IntRange(65, 700).Draw(t, "width"), rapid.IntRange(65, 300).Draw(t, "height")
		share := func(name string, from, until float64) float64 { return rapid.Float64Range(from, until).Draw(t, name) }
		x, y := share("x", 0, 0.9), share("y", 0, 0.9)
		m := rectangle(x, y, share("w", 0.005, 1-x), share("h", 0.005, 1-y))
		plain := rapid.Bool().Draw(t, "gray")
		seed := rapid.Uint64().Draw(t, "seed")
		var said [2]string
		for i := range said {
			var p image.Image = behind(m, w, h, seed+uint64(i))
			if plain {
				p = gray(p)
			}
			said[i] = told(outer.Context(), t, r, jpegOf(outer, p), m)
		}
		if said[0] != said[1] {
			t.Fatalf("what is behind %+v in a picture of %dx%d shows", m.Rectangles, w, h)
		}
	})
}

// TestNoTraceInAnyChroma is the same for JPEG of other subsamplings, whose blocks
// are up to 32 samples wide.
func TestNoTraceInAnyChroma(t *testing.T) {
	r := reader(t, capture.Options{Width: 1})
	const w, h = 650, 366
	for _, format := range []string{"yuvj411p", "yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p", "gray"} {
		t.Run(format, func(t *testing.T) {
			m := rectangle(0.31, 0.27, 0.3, 0.4)
			m.Rectangles = append(m.Rectangles, rectangle(0.013, 0.9, 0.2, 0.1).Rectangles[0], rectangle(0.75, 0.05, 0.25, 0.11).Rectangles[0])
			var said [2]string
			for k := range said {
				data := byFFmpeg(t, pngOf(t, behind(m, w, h, uint64(k))), "-sws_flags", "area", "-pix_fmt", format, "-c:v", "mjpeg", "-huffman", "default", "-q:v", "4", "-f", "mjpeg")
				said[k] = told(t.Context(), t, r, data, m)
			}
			if said[0] != said[1] {
				t.Error("what is hidden shows")
			}
		})
	}
}

// byFFmpeg encodes a PNG.
func byFFmpeg(t *testing.T, png []byte, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in.png")
	if err := os.WriteFile(file, png, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(append([]string{"-v", "error", "-i", file, "-frames:v", "1", "-bitexact", "-strict", "-1"}, args...), "-")...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("encode (the tests need ffmpeg): %v: %s", err, &errs)
	}
	return out
}

// TestTracesInVideo: a block of video is predicted from those beside it, so what
// is hidden leaves traces beyond its block, as deep as the quantiser lets them
// be. They stay below what a hash sees.
func TestTracesInVideo(t *testing.T) {
	r := reader(t, capture.Options{Width: 1})
	const w, h = 640, 384
	m := rectangle(0.31, 0.27, 0.3, 0.4)
	var frames [2]fleet.Frame
	var planes [2]codec.Plane
	var prints [2]fleet.Fingerprint
	for k := range frames {
		frames[k] = fleet.Frame{Codec: fleet.H264, Data: byFFmpeg(t, pngOf(t, behind(m, w, h, uint64(k))), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-qp", "26", "-f", "h264")}
		in, err := r.Inspect(t.Context(), frames[k], capture.Probe{Mask: m, Luma: func(p codec.Plane) error {
			planes[k] = codec.Plane{Pix: bytes.Clone(p.Pix), Width: p.Width, Height: p.Height, Stride: p.Stride}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		prints[k] = in.Fingerprint
	}
	// What lies in the mask's own macroblocks is hidden, the rest is seen.
	inside := func(x, y int) bool {
		return x/16 >= 198/16 && x/16 <= 390/16 && y/16 >= 103/16 && y/16 <= 257/16
	}
	beside, n, most := 0, 0, 0
	for y := range h {
		for x := range w {
			d := int(planes[0].Row(y)[x]) - int(planes[1].Row(y)[x])
			if d = max(d, -d); inside(x, y) {
				continue
			}
			n++
			if d > 0 {
				beside++
			}
			most = max(most, d)
		}
	}
	bits := 0
	for i := range prints[0].PDQ {
		for v := prints[0].PDQ[i] ^ prints[1].PDQ[i]; v != 0; v &= v - 1 {
			bits++
		}
	}
	t.Logf("%d of %d samples that are seen differ, by %d at most; the hashes by %d bits", beside, n, most, bits)
	if bits > 8 {
		t.Errorf("the hashes differ by %d bits", bits)
	}
}
