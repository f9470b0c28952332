package jpeg

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// refined is moreAC by the letter of T.81, Figure G.7: one coefficient after the
// other. It returns how many bits it took; ok is false where they make no sense.
func refined(b *[64]int16, t *table, data []byte, s spectrum, run int) (left, taken int, ok bool) {
	bit := func() int {
		v := int(data[taken/8]) >> (7 - taken%8) & 1
		taken++
		return v
	}
	correct := func(k int) {
		switch {
		case bit() == 0:
		case b[k] > 0:
			b[k] += 1 << s.low
		default:
			b[k] -= 1 << s.low
		}
	}
	k := s.from
	for run == 0 && k <= s.until {
		var acc uint64
		for i := range 16 {
			at := taken + i
			acc = acc<<1 | uint64(data[at/8])>>(7-at%8)&1
		}
		sym, length, known := t.next(acc << 48)
		if !known || sym&15 > 1 {
			return 0, 0, false
		}
		taken += int(length)
		zeros, fresh := int(sym>>4), int16(0)
		if sym&15 == 1 {
			fresh = int16(2*bit()-1) << s.low
		} else if zeros < 15 {
			run = 1 << zeros
			for more := 0; zeros > 0; zeros-- {
				more = more<<1 | bit()
				if zeros == 1 {
					run += more
				}
			}
			break
		}
		for ; k <= s.until && (b[k] != 0 || zeros > 0); k++ {
			if b[k] != 0 {
				correct(k)
			} else {
				zeros--
			}
		}
		if fresh != 0 {
			if k > s.until {
				return 0, 0, false
			}
			b[k] = fresh
		}
		k++
	}
	if run == 0 {
		return 0, taken, true
	}
	for ; k <= s.until; k++ {
		if b[k] != 0 {
			correct(k)
		}
	}
	return run - 1, taken, true
}

// TestRefine reads any bits as what refines any band of any block.
func TestRefine(t *testing.T) {
	std, err := standard()
	if err != nil {
		t.Fatal(err)
	}
	ac := new(table) // of codes of 3 and 4 bits for what a refining scan has
	if err := ac.build([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{0x01, 0x11, 0x00, 0x31, 0x10, 0x51, 0xF0, 0xF1, 0x20, 0x81}); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var want [64]int16
		for range rapid.SampledFrom([]int{0, 2, 10, 50, 200}).Draw(t, "coefficients") {
			want[rapid.IntRange(1, 63).Draw(t, "k")] = rapid.SampledFrom([]int16{-8, -4, 4, 12}).Draw(t, "value")
		}
		s := spectrum{from: rapid.IntRange(1, 63).Draw(t, "from"), high: 2, low: 1}
		s.until = rapid.IntRange(s.from, 63).Draw(t, "until")
		run := rapid.SampledFrom([]int{0, 0, 0, 1, 5}).Draw(t, "run")
		data := append(rapid.SliceOfN(rapid.ByteRange(0, 254), 60, 60).Draw(t, "data"), bytes.Repeat([]byte{0x5A}, 60)...)
		kept := rapid.SampledFrom([]int{5, 25, 64}).Draw(t, "kept")
		tab := rapid.SampledFrom([]*table{ac, ac, ac, std[2]}).Draw(t, "table")

		var d Decoder
		d.r.data, d.eobRun = data, run
		d.r.start(0)
		coefs, set := append([]int16{}, want[:kept]...), uint64(0)
		for k, v := range want {
			if v != 0 {
				set |= 1 << k
			}
		}
		w, ok := d.moreAC(&component{acTab: tab}, d.r.window, coefs, &set, s)
		left, taken, sound := refined(&want, tab, data, s, run)
		if ok != sound {
			t.Fatalf("sound %v, want %v", ok, sound)
		}
		if !ok {
			return
		}
		if got := 8*d.r.pos - int(w.n); got != taken || d.eobRun != left {
			t.Fatalf("%d bits taken and %d blocks left, want %d and %d", got, d.eobRun, taken, left)
		}
		for k, v := range want {
			if k < kept && coefs[k] != v || set>>k&1 != 0 != (v != 0) {
				t.Fatalf("coefficient %d is %d, want %d", k, coefs[min(k, kept-1)], v)
			}
		}
	})
}
