package h264

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// pcmStream is a key frame whose macroblocks are I_PCM where pcm says so, and
// elsewhere continue their surroundings.
func pcmStream(l layout, pcm []bool, rng *rand.Rand) []byte {
	s := &stream{}
	s.params(l)
	s.header(l, 0, 7, false)
	samples := func() {
		s.align(0)
		for range 384 {
			s.u(8, uint32(pick(rng)))
		}
	}
	near := func(i, dx, dy int) (coded, available bool) {
		x, y := i%l.w-dx, i/l.w-dy
		return x >= 0 && y >= 0 && pcm[max(y*l.w+x, 0)], x >= 0 && y >= 0
	}
	if !l.cabac {
		for i, p := range pcm {
			if p {
				s.ue(25)
				samples()
				continue
			}
			s.ue(3) // Intra_16x16, DC, nothing coded
			s.ue(0)
			s.se(0)
			leftPCM, _ := near(i, 1, 0)
			topPCM, _ := near(i, 0, 1)
			if leftPCM || topPCM { // nC is 8 or 16
				s.u(6, 3)
			} else {
				s.u(1, 1)
			}
		}
		s.nal(0x65, true)
		return s.out
	}
	s.align(1)
	a := s.arithmetic()
	for i, p := range pcm {
		leftPCM, left := near(i, 1, 0)
		topPCM, top := near(i, 0, 1)
		a.bin(ctxMBType+int(bit(left)+bit(top)), 1)
		a.Terminate(p)
		if p {
			samples()
			a.Begin()
		} else {
			a.bin(ctxMBType+3, 0)
			a.bin(ctxMBType+4, 0)
			a.bin(ctxMBType+6, 1)
			a.bin(ctxMBType+7, 0)
			a.bin(ctxChromaMode, 0)
			a.bin(ctxQPDelta, 0)
			a.bin(ctxCoded+coded(uint8(bit(leftPCM || !left)), uint8(bit(topPCM || !top))), 0)
		}
		a.Terminate(i == len(pcm)-1)
	}
	s.nal(0x65, false)
	return s.out
}

// pick draws a sample; zeros are frequent, so that emulation is prevented.
func pick(rng *rand.Rand) byte {
	if rng.IntN(3) > 0 {
		return 0
	}
	return byte(rng.IntN(256))
}

// TestPCM decodes key frames of I_PCM macroblocks among others, in both entropy
// codings, as FFmpeg does.
func TestPCM(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 25))
	var d Decoder
	for _, cabac := range []bool{false, true} {
		for n := range 8 {
			l := layout{w: 1 + rng.IntN(4), h: 1 + rng.IntN(4), cabac: cabac}
			pcm := make([]bool, l.w*l.h)
			for i := range pcm {
				pcm[i] = n == 0 || rng.IntN(2) == 0
			}
			data := pcmStream(l, pcm, rng)
			cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "h264", "-i", "-", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
			cmd.Stdin = bytes.NewReader(data)
			want, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var pic codec.Picture
			if err := d.Decode(t.Context(), data, Options{Chroma: true, Deblock: true}, &pic); err != nil {
				t.Fatalf("cabac %v, %v: %v", cabac, pcm, err)
			}
			if got := slices.Concat(pic.Y.Pix, pic.Cb.Pix, pic.Cr.Pix); !bytes.Equal(got, want) {
				t.Errorf("cabac %v, %dx%d, %v: %d samples differ from FFmpeg's %d", cabac, l.w, l.h, pcm, len(got), len(want))
			}
		}
	}
}
