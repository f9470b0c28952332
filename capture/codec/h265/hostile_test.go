package h265

import (
	"context"
	"errors"
	"math/bits"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// bitWriter writes what no encoder does.
type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) u(n int, v uint64) {
	for n--; n >= 0; n-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>n&1) << (7 - w.n%8)
		w.n++
	}
}

func (w *bitWriter) ue(values ...uint64) {
	for _, v := range values {
		n := bits.Len64(v + 1)
		w.u(2*n-1, v+1)
	}
}

// unit returns what was written as a NAL unit behind a start code.
func (w *bitWriter) unit(kind byte) []byte {
	out, zeros := []byte{0, 0, 1, kind << 1, 1}, 0
	for _, v := range w.b {
		if zeros >= 2 && v <= 3 {
			out, zeros = append(out, 3), 0
		}
		if out = append(out, v); v == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// spec is a sequence parameter set of a profile without tools.
type spec struct{ id, side, depth, reserve, minCB, moreCB, minTB, moreTB, sets uint64 }

func (s spec) unit() []byte {
	var w bitWriter
	w.u(8, 1)
	w.u(8, 1) // Main
	w.u(64, 0)
	w.u(24, 30)
	w.ue(s.id, 1, s.side, s.side)
	w.u(1, 0)
	w.ue(s.depth, s.depth, s.reserve)
	w.u(1, 1)
	w.ue(0, 0, 0, s.minCB, s.moreCB, s.minTB, s.moreTB, 0, 0)
	w.u(4, 0b0010) // offsets
	w.ue(s.sets)
	if s.sets == 0 {
		w.u(5, 0)
		w.u(1, 1)
	}
	return w.unit(nalSPS)
}

// ppsUnit is a picture parameter set.
func ppsUnit(id, sps uint64) []byte {
	var w bitWriter
	w.ue(id, sps)
	w.u(7, 0)
	w.ue(0, 0, 0)
	w.u(3, 0)
	w.ue(0, 0)
	w.u(8, 0)
	w.u(2, 0)
	w.ue(0)
	w.u(2, 0)
	w.u(1, 1)
	return w.unit(nalPPS)
}

// sliceUnit has no data worth the name.
func sliceUnit(first bool, address int, width int, pps uint64, data []byte) []byte {
	var w bitWriter
	if w.u(1, 0); first {
		w.b[0] = 0x80
	}
	w.u(1, 0)
	w.ue(pps)
	if !first {
		w.u(width, uint64(address))
	}
	w.ue(2)
	w.u(2, 0b11) // its offsets
	w.ue(0)
	w.u(1, 1)
	w.n = len(w.b) * 8
	w.b = append(w.b, data...)
	return w.unit(nalIDR)
}

func concat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// noise is data that decodes to a few coding tree units of anything.
func noise(n int) []byte {
	b, state := make([]byte, n), uint32(1)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return append(b, 0x80)
}

// TestMissingOtherSets has slices of one picture that claim two sizes of it: the
// share that is missing stays one.
func TestMissingOtherSets(t *testing.T) {
	sets := concat(spec{side: 512, moreCB: 1, moreTB: 1}.unit(), spec{id: 1, side: 16, moreCB: 1, moreTB: 1}.unit(), ppsUnit(0, 0), ppsUnit(1, 1))
	slices := [][]byte{sliceUnit(true, 0, 0, 0, noise(2000)), sliceUnit(false, 0, 0, 1, noise(20)), sliceUnit(true, 0, 0, 1, noise(20))}
	for _, order := range [][]int{{0}, {0, 1}, {0, 1, 1}, {2, 0}, {2, 1}} {
		data := sets
		for _, i := range order {
			data = concat(data, slices[i])
		}
		var c Checker
		if m, err := c.Missing(t.Context(), data, codec.Limits{}); err != nil || !(m > 0 && m <= 1) {
			t.Errorf("slices %v: %v is missing: %v", order, m, err)
		}
	}
}

// TestMissingHugeNumbers has numbers that overflow 32 bits when they are added to.
func TestMissingHugeNumbers(t *testing.T) {
	slice := sliceUnit(true, 0, 0, 0, noise(200))
	for _, huge := range []uint64{1<<31 - 9, 1<<31 - 2, 1<<31 - 1, 1 << 31, 1<<32 - 2} {
		good := spec{side: 64, moreCB: 1, moreTB: 1}
		for i, change := range []func(*spec){
			func(s *spec) { s.id = huge }, func(s *spec) { s.side = huge }, func(s *spec) { s.depth = huge }, func(s *spec) { s.reserve = huge },
			func(s *spec) { s.minCB, s.moreCB = huge, huge }, func(s *spec) { s.moreCB = huge },
			func(s *spec) { s.minTB, s.moreTB = huge, huge }, func(s *spec) { s.moreTB = huge }, func(s *spec) { s.sets = huge },
		} {
			bad := good
			change(&bad)
			var c Checker
			if m, err := c.Missing(t.Context(), concat(bad.unit(), ppsUnit(0, 0), slice), codec.Limits{}); err == nil {
				t.Errorf("change %d to %d: %v is missing, want an error", i, huge, m)
			}
		}
		for _, sets := range [][2]uint64{{huge, 0}, {0, huge}} {
			var c Checker
			_, _ = c.Missing(t.Context(), concat(good.unit(), ppsUnit(sets[0], sets[1]), slice), codec.Limits{})
		}
		var c Checker
		if m, err := c.Missing(t.Context(), concat(good.unit(), ppsUnit(0, 0), sliceUnit(true, 0, 0, huge, nil)), codec.Limits{}); m != 1 || err != nil {
			t.Errorf("a slice of set %d: %v is missing: %v", huge, m, err)
		}
	}
}

// TestMissingEnded has a context that ends while parameter sets come, and no slice.
func TestMissingEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, data := range map[string][]byte{
		"sets":   spec{side: 64, moreCB: 1, moreTB: 1}.unit(),
		"slices": concat(spec{side: 64, moreCB: 1, moreTB: 1}.unit(), ppsUnit(0, 0), sliceUnit(false, 5, 4, 0, noise(20))),
	} {
		var c Checker
		if _, err := c.Missing(ctx, data, codec.Limits{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSetCutOff reads no further once a set has ended: how much it says that there
// is must not cost more than what there is.
func TestSetCutOff(t *testing.T) {
	l := codec.Limits{}.WithDefaults()
	unit := spec{side: 64, moreCB: 1, moreTB: 1, sets: 64}.unit()
	var r bitReader
	r.Open(unit[5:])
	if _, _, err := parseSPS(&r, l); err == nil || r.Pos > r.End+300 {
		t.Errorf("%d bits of a set of %d were read: %v", r.Pos, r.End, err)
	}
}
