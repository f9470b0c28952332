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
	for name, bad := range map[string][]byte{"empty": nil, "version": append([]byte{9}, b[1:]...), "version 1": append([]byte{1}, b[1:]...), "short": b[:len(b)-1], "long": append(slices.Clone(b), 0), "kind": slices.Replace(slices.Clone(b), 5, 6, 77)} {
		if err := got.UnmarshalBinary(bad); err == nil || got != c.state {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzState reads hostile bytes: what is accepted packs into the same bytes, and
// can be judged by.
func FuzzState(f *testing.F) {
	f.Add([]byte{2})
	f.Add(append([]byte{2}, make([]byte, quality.StateBytes-1)...))
	p := codectest.Plane("clouds", 64, 64, 64)
	scores, grid := quality.Score(p), reduce(p)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s quality.State
		if s.UnmarshalBinary(b) != nil {
			return
		}
		again, err := s.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("packs into other bytes: %v", err)
		}
		v, _ := quality.Judge(quality.Options{}, s, quality.Sample{Scores: &scores, Grid: grid, At: time.Unix(0, 0)})
		if !(v.Score >= 0 && v.Score <= 1) {
			t.Fatalf("score %v", v.Score)
		}
	})
}
