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

// scalingLists draws lists: own ones, defaults, and absent ones that fall back
// (Table 7-2). The kinds are how many of these.
func (s *stream) scalingLists(kinds int, rng *rand.Rand) {
	for i := range 8 {
		n := 16
		if i >= 6 {
			n = 64
		}
		switch rng.IntN(kinds) {
		case 1:
			s.u(1, 0)
		case 2: // the default
			s.u(1, 1)
			s.se(-8)
		default:
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
}

// withMatrix writes a sequence parameter set of x264's High profile anew, with
// own scaling lists that are drawn.
func (s *stream) withMatrix(t *testing.T, nal []byte, rng *rand.Rand) {
	const flag = 31 // bits before seq_scaling_matrix_present_flag: three bytes and five short numbers
	var r bitReader
	r.Open(nal[1:])
	s.u(flag, r.U(flag))
	if r.Data[0] != 100 || r.Data[3] != 0xac || r.Flag() { // High; number 0, 4:2:0, 8 bits, neither lossless nor lists
		t.Fatalf("x264 writes another sequence parameter set: %x", r.Data[:r.Len()])
	}
	s.u(1, 1)
	s.scalingLists(1, rng)
	for r.More() {
		s.u(1, r.U(1))
	}
	s.nal(0x67, true)
}

// pictureParams writes p's set anew with the given offset for Cr, and with
// scaling lists that are drawn.
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
	s.scalingLists(3, rng)
	s.se(cr)
	s.nal(0x68, true)
}

// TestPictureParameterSets decodes x264's pictures under other parameter sets
// than x264 writes, as FFmpeg does: absent lists of a picture's fall back to the
// sequence's where it has some (rule B), and to the defaults where not (rule A). That the pictures are no
// longer what was encoded does not matter.
func TestPictureParameterSets(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	var d Decoder
	var pic codec.Picture
	for n := range 24 {
		matrix := "flat"
		if n < 14 && n>>1&1 == 1 {
			matrix = "jvt"
		}
		params := fmt.Sprintf("qp=%d:cabac=%d:cqm=%s:partitions=all", 24+rng.IntN(20), n&1, matrix)
		sound := x264(t, "yuv420p", params, "1")
		if err := d.Decode(t.Context(), sound, Options{}, &pic); err != nil {
			t.Fatal(err)
		}
		s := &stream{}
		for _, u := range units(sound) {
			switch kind := u[3] & 31; {
			case kind == nalPPS:
				s.pictureParams(d.pps, d.pps.chromaOffset[0]-rng.IntN(10), rng)
			case kind == nalSPS && n >= 14:
				s.withMatrix(t, u[3:], rng)
			default:
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
