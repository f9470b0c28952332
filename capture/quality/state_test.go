//go:build !race

package quality_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/quality"
)

func TestStatePacks(t *testing.T) {
	s := newScene(1)
	var c camera
	c.learn(t, s, false)
	c.judge(faults()["turned"].do(s, light(false)))
	b, err := c.state.MarshalBinary()
	if err != nil || len(b) != quality.StateBytes {
		t.Fatalf("%d bytes, want %d: %v", len(b), quality.StateBytes, err)
	}
	var got quality.State
	if err := got.UnmarshalBinary(b); err != nil || got != c.state {
		t.Fatalf("it came back another: %v", err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "version": append([]byte{9}, b[1:]...), "version 1": append([]byte{1}, b[1:]...), "short": b[:len(b)-1], "long": append(slices.Clone(b), 0), "kind": slices.Replace(slices.Clone(b), 5, 6, 77), "spans": slices.Replace(slices.Clone(b), 18, 19, 4)} {
		if err := got.UnmarshalBinary(bad); err == nil || got != c.state {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// before is a packed State as version 2 had it.
func before(b []byte) []byte {
	b = slices.Delete(slices.Clone(b), 18, 26)
	b[0] = 2
	return b
}

// TestStateBefore: what the version before this one has learned is kept. Of a
// second look that it was learning nobody knows when it was seen: it is begun
// again, and meanwhile blinds nobody.
func TestStateBefore(t *testing.T) {
	s := newScene(1)
	for name, odd := range map[string]int{"one look": 0, "a look and a few odd frames": 5} {
		var c camera
		c.learn(t, s, false)
		for range odd {
			o := light(false)
			o.paint = van(vanWidth)
			c.judge(s.draw(o))
		}
		b, err := c.state.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		k := camera{at: c.at}
		if err := k.state.UnmarshalBinary(before(b)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if odd == 0 {
			if again, _ := k.state.MarshalBinary(); !bytes.Equal(again, b) {
				t.Errorf("%s: not all of it came", name)
			}
		}
		for i := range 3 {
			if v := k.judge(s.draw(light(false))); v.Kind != quality.Ok || v.Learning || v.Background.Correlation < 0.9 {
				t.Errorf("%s, frame %d: %+v", name, i, v)
			}
		}
		if v := k.judge(faults()["hand"].do(s, light(false))); v.Kind != quality.Covered {
			t.Errorf("%s, then a hand: %+v", name, v)
		}
	}
}

// TestCutState: what somebody puts behind a packed State comes back, of either
// version, though the one with something behind it is as long as the other.
func TestCutState(t *testing.T) {
	b, err := new(quality.State).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range [][]byte{b, before(b), nil, b[:7]} {
		for _, rest := range []string{"", "12345678"} {
			if rest != "" && len(state) < 100 {
				continue
			}
			got, behind := quality.CutState(append(slices.Clone(state), rest...))
			if !bytes.Equal(got, state) || string(behind) != rest {
				t.Errorf("%d bytes and %q are parted into %d and %q", len(state), rest, len(got), behind)
			}
		}
	}
}

// FuzzState reads hostile bytes: what is accepted packs into the same bytes, or
// those of this version that mean the same, and can be judged by.
func FuzzState(f *testing.F) {
	f.Add([]byte{3})
	zero := append([]byte{3}, make([]byte, quality.StateBytes-1)...)
	f.Add(zero)
	f.Add(before(zero))
	p := codectest.Plane("clouds", 64, 64, 64)
	scores, grid := quality.Score(p), reduce(p)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s quality.State
		if s.UnmarshalBinary(b) != nil {
			return
		}
		again, err := s.MarshalBinary()
		var same quality.State
		if err != nil || len(b) == len(again) && !bytes.Equal(again, b) || same.UnmarshalBinary(again) != nil || same != s {
			t.Fatalf("packs into other bytes: %v", err)
		}
		v, _ := quality.Judge(quality.Options{}, s, quality.Sample{Scores: &scores, Grid: grid, At: time.Unix(0, 0)})
		if !(v.Score >= 0 && v.Score <= 1) {
			t.Fatalf("score %v", v.Score)
		}
	})
}
