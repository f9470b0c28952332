package h264

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// pictureParams writes p's set anew with the given offset for Cr, and with
// scaling lists that are drawn: own ones, defaults, and absent ones that fall
// back (Table 7-2).
func (s *stream) pictureParams(p *pps, cr int, rng *rand.Rand) {
	s.ue(0)
	s.ue(0)
	s.u(1, bit(p.cabac))
	s.u(1, bit(p.bottomPOC))
	s.ue(0)
	s.ue(0)
	s.ue(0)
	s.u(3, 0)
	s.se(p.initQP - 26)
	s.se(0)
	s.se(p.chromaOffset[0])
	s.u(1, bit(p.deblockControl))
	s.u(2, 0)
	s.u(1, 1) // transform_8x8_mode_flag
	s.u(1, 1)
	for i := range 8 {
		n := 16
		if i >= 6 {
			n = 64
		}
		switch rng.IntN(3) {
		case 0:
			s.u(1, 0)
		case 1: // the default
			s.u(1, 1)
			s.se(-8)
		case 2:
			s.u(1, 1)
			last, stop := 8, rng.IntN(n)
			for j := range n {
				if j > 0 && j == stop { // the rest is as the last one
					s.se(-last)
					break
				}
				v := 3 + rng.IntN(5) + 16*j/n // not far above x264's: FFmpeg keeps coefficients in 16 bits
				s.se(v - last)
				last = v
			}
		}
	}
	s.se(cr)
	s.nal(0x68, true)
}

// TestPictureParameterSets decodes x264's pictures under other picture
// parameter sets than x264 writes, as FFmpeg does. That the pictures are no
// longer what was encoded does not matter.
func TestPictureParameterSets(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	var d Decoder
	var pic codec.Picture
	for n := range 16 {
		params := fmt.Sprintf("qp=%d:cabac=%d:cqm=%s:partitions=all", 24+rng.IntN(20), n&1, []string{"flat", "jvt"}[n>>1&1])
		sound := x264(t, "yuv420p", params, "1")
		if err := d.Decode(t.Context(), sound, Options{}, &pic); err != nil {
			t.Fatal(err)
		}
		s := &stream{}
		for _, u := range units(sound) {
			if u[3]&31 == nalPPS {
				s.pictureParams(d.pps, d.pps.chromaOffset[0]-rng.IntN(10), rng)
			} else {
				s.out = append(s.out, u...)
			}
		}
		cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "h264", "-i", "-", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
		cmd.Stdin = bytes.NewReader(s.out)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(t.Context(), s.out, Options{Chroma: true, Deblock: true}, &pic); err != nil {
			t.Errorf("%s, set %d: %v", params, n, err)
			continue
		}
		if got := slices.Concat(pic.Y.Pix, pic.Cb.Pix, pic.Cr.Pix); !bytes.Equal(got, want) {
			t.Errorf("%s, set %d: not FFmpeg's picture", params, n)
		}
	}
}
