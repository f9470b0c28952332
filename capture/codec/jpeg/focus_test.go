package jpeg_test

import (
	"image"
	"math"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// luma is the gray of a drawing, blurred by a Gaussian of sigma pixels.
func luma(m *image.RGBA, sigma float64) *image.Gray {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	from, to := make([]float64, w*h), make([]float64, w*h)
	for i := range from {
		p := m.Pix[4*i : 4*i+3]
		from[i] = 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2])
	}
	r := int(3 * sigma)
	kernel, sum := make([]float64, 2*r+1), 0.0
	for i := range kernel {
		kernel[i] = 1
		if r > 0 {
			kernel[i] = math.Exp(-float64((i-r)*(i-r)) / (2 * sigma * sigma))
		}
		sum += kernel[i]
	}
	for _, step := range [][2]int{{1, 0}, {0, 1}} {
		for y := range h {
			for x := range w {
				v := 0.0
				for i, k := range kernel {
					nx, ny := min(max(x+(i-r)*step[0], 0), w-1), min(max(y+(i-r)*step[1], 0), h-1)
					v += k * from[ny*w+nx]
				}
				to[y*w+x] = v / sum
			}
		}
		from, to = to, from
	}
	g := image.NewGray(m.Rect)
	for i, v := range from {
		g.Pix[i] = uint8(math.Round(v))
	}
	return g
}

// TestFocus blurs drawn scenes at three strengths and codes them at four
// qualities: the word follows the blur, whatever the quality.
func TestFocus(t *testing.T) {
	var d jpeg.Decoder
	var pic codec.Picture
	focus := func(m image.Image, quality int) (jpeg.Focus, float64) {
		var x jpeg.Detail
		if err := d.Decode(t.Context(), encode(t, m, quality), jpeg.Options{Scale: 8, Detail: &x}, &pic); err != nil {
			t.Fatal(err)
		}
		return x.Focus(), x.Sharpness()
	}
	words := map[float64]map[jpeg.Focus]int{}
	n := 0
	for i, scene := range camtest.Scenes() {
		for _, hour := range []int{12, 23} {
			m, err := camtest.Draw(scene, uint64(i), 320, 180, time.Date(2027, 6, 1, hour, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			for _, sigma := range []float64{0, 1, 2, 4} {
				g := luma(m, sigma)
				for _, quality := range []int{50, 65, 80, 95} {
					word, s := focus(g, quality)
					if words[sigma] == nil {
						words[sigma] = map[jpeg.Focus]int{}
					}
					words[sigma][word]++
					if sigma == 0 && word != jpeg.Sharp || sigma > 1 && word == jpeg.Sharp || sigma == 4 && word != jpeg.Blurred {
						t.Errorf("%s at %d h, blurred by %v, quality %d: %q, %.3f", scene, hour, sigma, quality, word, s)
					}
					n++
				}
			}
		}
	}
	n /= 4
	if words[2][jpeg.Blurred] < n*9/10 || words[1][jpeg.Soft] < n/2 || words[1][jpeg.Blurred] > n/10 {
		t.Errorf("of %d each: %v", n, words)
	}
	t.Logf("of %d each: %v", n, words)
	if word, _ := focus(image.NewGray(image.Rect(0, 0, 320, 180)), 90); word != jpeg.FocusUnknown {
		t.Errorf("an empty picture is %q", word)
	}
	if word := (jpeg.Detail{}).Focus(); word != jpeg.FocusUnknown {
		t.Errorf("no picture is %q", word)
	}
}
