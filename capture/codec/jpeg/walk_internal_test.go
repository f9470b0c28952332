package jpeg

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// writer is the coder of the model: it puts bits together and stuffs zeros.
type writer struct {
	b   []byte
	acc uint32
	n   int
}

func (w *writer) put(v uint32, n int) {
	for n--; n >= 0; n-- {
		w.acc = w.acc<<1 | v>>n&1
		if w.n++; w.n == 8 {
			w.b = append(w.b, byte(w.acc))
			if byte(w.acc) == 0xFF {
				w.b = append(w.b, 0)
			}
			w.acc, w.n = 0, 0
		}
	}
}

// symbol writes the code of a symbol, made by Annex C of T.81 from the segment.
func (w *writer) symbol(source []byte, sym byte) {
	code, at := uint32(0), 16
	for length := 1; length <= 16; length++ {
		for range source[length-1] {
			if source[at] == sym {
				w.put(code, length)
				return
			}
			code++
			at++
		}
		code <<= 1
	}
	panic("no such symbol")
}

// size is how many bits a number has, T.81 Table F.1.
func size(v int32) (bits int) {
	for m := max(v, -v); m > 0; m >>= 1 {
		bits++
	}
	return bits
}

// number writes a number's bits: a negative one as one less, T.81 F.1.2.1.
func (w *writer) number(v int32) {
	n := size(v)
	if v < 0 {
		v += 1<<n - 1
	}
	w.put(uint32(v), n)
}

// block writes a block by F.1.2 of T.81.
func (w *writer) block(dc, ac []byte, diff int32, coefs *[64]int32) {
	w.symbol(dc, byte(size(diff)))
	w.number(diff)
	run := 0
	for k := 1; k < 64; k++ {
		v := coefs[k]
		if v == 0 {
			run++
			continue
		}
		for ; run > 15; run -= 16 {
			w.symbol(ac, 0xF0)
		}
		w.symbol(ac, byte(run<<4|size(v)))
		w.number(v)
		run = 0
	}
	if run > 0 {
		w.symbol(ac, 0)
	}
}

// TestWalk codes blocks and walks them as far as each scale needs: all that is
// kept is what was coded, and each block begins where the one before ended.
func TestWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		which := rapid.IntRange(0, 1).Draw(t, "tables")
		dc, ac := standardTables[which], standardTables[2+which]
		small := rapid.SampledFrom([]int32{-1, 1, -1, 1, 2, -3, 7, -40, 900, -1023})
		var blocks [][64]int32
		var w writer
		last := int32(0)
		for range rapid.IntRange(1, 12).Draw(t, "blocks") {
			var b [64]int32
			b[0] = rapid.Int32Range(-1000, 1000).Draw(t, "level")
			for range rapid.SampledFrom([]int{0, 1, 3, 10, 63}).Draw(t, "coefficients") {
				b[rapid.IntRange(1, 63).Draw(t, "k")] = small.Draw(t, "v")
			}
			w.block(dc, ac, b[0]-last, &b)
			last = b[0]
			blocks = append(blocks, b)
		}
		w.put(0x7F, 7)
		std, err := standard()
		if err != nil {
			t.Fatal(err)
		}
		for side, limit := range needed {
			if side == 0 || side&(side-1) != 0 {
				continue
			}
			var d Decoder
			c := component{dcTable: std[which], acTab: std[2+which]}
			c.dcTable.fillDiffs()
			c.acTab.fillSkips()
			c.acTab.fillStarts()
			for k := range c.quant {
				c.quant[k] = 1
			}
			d.r.data = w.b
			d.r.start(0)
			for i, want := range blocks {
				var got block
				w, end, ok := d.baseline(&c, d.r.fill(d.r.window), &got, limit)
				d.r.window = w
				if !ok || d.r.overrun() {
					t.Fatalf("side %d: block %d of %d has no end", side, i, len(blocks))
				}
				for k := range 64 {
					if v := got[zigzag[k]]; k <= limit && v != want[k] || k > end && v != 0 {
						t.Fatalf("side %d: coefficient %d of block %d is %d, want %d; the last is %d", side, k, i, v, want[k], end)
					}
				}
			}
			// corner is baseline and quarter.
			s := component{dcTable: c.dcTable, acTab: c.acTab, quant: c.quant}
			d.r.start(0)
			for i, b := range blocks {
				var got, want [4]byte
				quarter(b[0], b[1], b[2], b[4], want[:], 2)
				w, ok := d.corner(&s, d.r.fill(d.r.window), got[:], 2)
				if d.r.window = w; !ok || d.r.overrun() || got != want {
					t.Fatalf("block %d comes out as %d, want %d", i, got, want)
				}
			}
			// skip is baseline with nothing kept.
			s = component{dcTable: c.dcTable, acTab: c.acTab}
			d.r.start(0)
			for i, want := range blocks {
				w, ok := d.skip(&s, d.r.fill(d.r.window))
				if d.r.window = w; !ok || d.r.overrun() || s.dc != want[0] {
					t.Fatalf("block %d is passed over as %d, want %d", i, s.dc, want[0])
				}
			}
		}
	})
}

// TestSkips holds each look-up against a walk code by code.
func TestSkips(t *testing.T) {
	std, err := standard()
	if err != nil {
		t.Fatal(err)
	}
	for _, ac := range std[2:] {
		ac.fillSkips()
		several := 0
		for i, e := range ac.skips {
			acc := uint64(i) << (64 - skipBits)
			var taken uint
			moved, codes := 0, 0
			for end := false; !end; codes++ {
				sym, length, ok := ac.next(acc << taken)
				bits := uint(sym & 15)
				if !ok || taken+length+bits > skipBits {
					break
				}
				move := int(sym>>4) + 1
				if sym == 0 {
					move, end = 1, true
				}
				if moved+move > 64 {
					break
				}
				taken, moved = taken+length+bits, moved+move
			}
			if e == skipNone {
				e = 0
			}
			if uint(e&skipTaken) != taken || int(e>>skipShift&127) != moved {
				t.Fatalf("%012b takes %d bits and moves by %d, want %d and %d", i, e&skipTaken, e>>skipShift&127, taken, moved)
			}
			if codes > 1 {
				several++
			}
		}
		if several < len(ac.skips)/2 {
			t.Errorf("only %d of %d look-ups pass over several codes", several, len(ac.skips))
		}
	}
}

// TestFullLow: leaving out zeros changes no sample.
func TestFullLow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a block
		for k := range lowLast + 1 {
			a[zigzag[k]] = rapid.Int32Range(-2048, 2047).Draw(t, "coefficient") >> rapid.IntRange(0, 12).Draw(t, "shift")
		}
		b := a
		var got, want [64]byte
		fullLow(&a, got[:], 8)
		full(&b, want[:], 8)
		if got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// TestVectors: every level writes the same samples, and nothing beside them, of
// coefficients that no picture has too.
func TestVectors(t *testing.T) {
	levels := codec.Levels()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]*rapid.Generator[int32]{
			rapid.Int32Range(-40, 40), rapid.Int32Range(-2048, 2047), rapid.Int32Range(-1<<15, 1<<15), rapid.Int32(),
		}).Draw(t, "values")
		var b block
		for range rapid.IntRange(1, 64).Draw(t, "coefficients") {
			b[rapid.IntRange(0, 63).Draw(t, "at")] = value.Draw(t, "value")
		}
		stride := rapid.IntRange(8, 20).Draw(t, "stride")
		want := bytes.Repeat([]byte{77}, 7*stride+8)
		a := b
		full(&a, want, stride)
		for _, l := range levels[1:] {
			got := bytes.Repeat([]byte{77}, 7*stride+8)
			a := b
			if done, can := fullVector(l, &a, got, stride), l == codec.AVX2 || l == codec.AVX512; done != can {
				t.Fatalf("level %v: done %v", l, done)
			} else if !can {
				continue
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("level %v of %v: %d, in plain Go %d", l, b, got, want)
			}
		}
	})
}
