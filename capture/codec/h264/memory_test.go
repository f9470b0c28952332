package h264

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// taken is how many bytes f allocates in all.
func taken(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// claim is a key frame of the layout with a slice from macroblock first on, whose
// data is noise.
func claim(l layout, first, bytes int, rng *rand.Rand) []byte {
	s := &stream{}
	s.params(l)
	s.header(l, first, 7, false)
	s.align(1)
	for range bytes {
		s.u(8, rng.Uint32()&0xff)
	}
	s.nal(0x65, true)
	return s.out
}

// TestHostileClaims holds what a stream can have allocated that claims a large
// picture and does not bring it: what four macroblocks take for each of its bytes.
func TestHostileClaims(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	sets := &stream{} // parameter sets that replace each other, each read for a slice
	for range 50 {
		sets.params(layout{w: 64, h: 64, cabac: true})
		sets.header(layout{}, 0, 0, false)
		sets.nal(0x61, true)
	}
	for name, data := range map[string][]byte{
		"CABAC":                        claim(layout{w: 256, h: 256, cabac: true}, 0, 2000, rng),
		"CABAC, the last macroblock":   claim(layout{w: 256, h: 256, cabac: true}, 256*256-1, 2000, rng),
		"CABAC, a middle macroblock":   claim(layout{w: 256, h: 256, cabac: true}, 256*128, 2000, rng),
		"CABAC, more than possible":    claim(layout{w: 512, h: 270, cabac: true}, 0, 2000, rng),
		"CAVLC":                        claim(layout{w: 52, h: 51}, 0, 2000, rng),
		"CAVLC, the last macroblock":   claim(layout{w: 52, h: 51}, 52*51-1, 2000, rng),
		"CAVLC, more than possible":    claim(layout{w: 256, h: 256}, 0, 2000, rng),
		"parameter sets and no slices": sets.out,
	} {
		for _, partial := range []bool{false, true} {
			var d Decoder
			var pic codec.Picture
			var err error
			got := taken(func() {
				err = d.Decode(t.Context(), data, Options{Chroma: true, Partial: partial}, &pic)
			})
			// Four macroblocks of 440 bytes, and the tables that any stream needs.
			if most := 4*440*len(data) + 256<<10; got > most {
				t.Errorf("%s: %d bytes have %d allocated, want at most %d", name, len(data), got, most)
			}
			if err == nil {
				t.Errorf("%s: it decodes", name)
			}
		}
	}
}

// TestEmptyPictures decodes the shortest pictures there are, which claim no more
// than they hold, and looks how much of the bound they use.
func TestEmptyPictures(t *testing.T) {
	for _, l := range []layout{{w: 128, h: 96, cabac: true}, {w: 64, h: 48}} {
		n := l.w * l.h
		data := pcmStream(l, make([]bool, n), nil)
		var d Decoder
		var pic codec.Picture
		var err error
		got := taken(func() { err = d.Decode(t.Context(), data, Options{Chroma: true}, &pic) })
		if err != nil {
			t.Fatalf("CABAC %v: %v", l.cabac, err)
		}
		// Emulation prevention takes a third of such bytes, mb_type 3 two bits
		// more than 1, which a first macroblock cannot have.
		if most := mostMBs(len(data), l.cabac, true); n < most/2 {
			t.Errorf("CABAC %v: %d macroblocks in %d bytes, and the bound is %d", l.cabac, n, len(data), most)
		}
		// Memory that doubles comes to less than thrice the last of it.
		if most := 3*440*n + 256<<10; got > most {
			t.Errorf("CABAC %v: %d bytes for %d macroblocks, want at most %d", l.cabac, got, n, most)
		}
		if !bytes.Equal(pic.Y.Pix, bytes.Repeat([]byte{128}, 256*n)) || !bytes.Equal(pic.Cr.Pix, bytes.Repeat([]byte{128}, 64*n)) {
			t.Errorf("CABAC %v: nothing coded is mid gray", l.cabac)
		}
		if err := d.Decode(t.Context(), data[:len(data)*2/3], Options{Chroma: true}, &pic); cause(err) != fleet.CauseCorrupt {
			t.Errorf("CABAC %v: two thirds of it: %v", l.cabac, err)
		}
	}
}
