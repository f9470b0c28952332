package cabactest_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec/cabac"
	"github.com/shutterfleet/shutterfleet/capture/codec/cabac/cabactest"
)

// writer packs bits.
type writer struct {
	data []byte
	n    int
}

func (w *writer) put(bit int) {
	if w.n&7 == 0 {
		w.data = append(w.data, 0)
	}
	w.data[w.n>>3] |= byte(bit << (7 - w.n&7))
	w.n++
}

// TestThereAndBack decodes what was coded, in parts that each end with a true
// terminating bin, and begins each part where the one before says that it ended.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type step struct{ kind, at, bin int }
		steps := rapid.Custom(func(t *rapid.T) step {
			return step{rapid.IntRange(0, 3).Draw(t, "kind"), rapid.IntRange(0, 15).Draw(t, "context"), rapid.IntRange(0, 1).Draw(t, "bin")}
		})
		parts := rapid.SliceOfN(rapid.SliceOfN(steps, 0, 120), 1, 4).Draw(t, "parts")
		var first [16]cabac.Context
		for i := range first {
			first[i] = cabac.Context(rapid.IntRange(0, 125).Draw(t, "state"))
		}
		var w writer
		var ends []int // where each part's last bit is
		enc, contexts := cabactest.NewEncoder(w.put), first
		for i, part := range parts {
			if i > 0 {
				enc.Begin()
			}
			for _, s := range part {
				switch s.kind {
				case 0:
					enc.Bypass(s.bin)
				case 1:
					enc.Terminate(false)
				default:
					enc.Bin(&contexts[s.at], s.bin)
				}
			}
			enc.Terminate(true)
			ends = append(ends, w.n)
			for w.n&7 != 0 {
				w.put(0)
			}
		}
		data := append(w.data, 0, 0, 0)
		var e cabac.Engine
		e.Start(data, 0)
		after := contexts
		contexts = first
		for i, part := range parts {
			for k, s := range part {
				got := s.bin
				switch s.kind {
				case 0:
					got = e.Bypass()
				case 1:
					if e.Terminate() {
						t.Fatalf("part %d ends at step %d of %d", i, k, len(part))
					}
				default:
					got = e.Bin(&contexts[s.at])
				}
				if got != s.bin {
					t.Fatalf("part %d, step %d: %d, want %d", i, k, got, s.bin)
				}
			}
			if !e.Terminate() || e.Taken() != ends[i] {
				t.Fatalf("part %d of %d steps has no end at bit %d: %d", i, len(part), ends[i], e.Taken())
			}
			e.Start(data, e.NextByte())
		}
		if contexts != after {
			t.Errorf("contexts %v, want %v", contexts, after)
		}
	})
}

// TestCostly codes the most improbable bins one behind the other, from every place
// in the bits that are loaded at once: each takes six bits or seven, and two of them
// come between two looks at what is loaded ahead.
func TestCostly(t *testing.T) {
	const sure, bins = cabac.Context(62 << 1), 40
	for before := range 32 {
		var w writer
		enc := cabactest.NewEncoder(w.put)
		for i := range before {
			enc.Bypass(i & 1)
		}
		for range bins {
			c := sure
			enc.Bin(&c, 1)
		}
		enc.Terminate(true)
		data := append(w.data, 0, 0, 0)
		var e cabac.Engine
		e.Start(data, 0)
		e.Bypasses(before)
		local := e
		for i := range bins {
			if c := sure; e.Bin(&c) != 1 {
				t.Fatalf("behind %d bits, bin %d of %d is another", before, i, bins)
			}
		}
		if !e.Terminate() || e.Taken() != w.n {
			t.Errorf("behind %d bits: no end at bit %d: %d", before, w.n, e.Taken())
		}
		offset, rng, ahead := local.Offset, local.Range, local.Ahead
		for i := range bins {
			if i&1 == 0 && ahead < cabac.RefillAt {
				offset, ahead = local.Load(offset, ahead)
			}
			d, o, r, taken := cabac.Decide(sure, offset, rng)
			if offset, rng, ahead = o, r, ahead-taken; !d.One() {
				t.Fatalf("behind %d bits, bin %d of %d is another by local registers", before, i, bins)
			}
		}
	}
}
