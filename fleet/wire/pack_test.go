package wire_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

func frame() fleet.Capture {
	c := fleet.Capture{
		Occurrence: fleet.Occurrence{Camera: 0x1f2e3d4c5b6a7988, Schedule: 42, Nominal: 1_800_000_000_123},
		Outcome:    fleet.Captured,
		At:         1_800_000_000_240,
		Bound:      1500 * time.Microsecond,
		Delay:      3 * time.Millisecond,
		Took:       117 * time.Millisecond,
		Attempts:   1,
		Protocol:   fleet.Snapshot,
		Reading: fleet.Reading{
			Width: 1920, Height: 1080, Codec: fleet.JPEG, Bytes: 98_765,
			Fingerprint: fleet.Fingerprint{PDQQuality: 100, PHash: 0xc3a5},
			Quality:     fleet.Quality{Mean: 101.5, Contrast: 44, Sharpness: 927.4, Dark: 0.01, Bright: 0.02, Entropy: 7.25},
		},
	}
	for i := range 32 {
		c.Reading.SHA256[i], c.Reading.Fingerprint.PDQ[i] = byte(i), byte(255-i)
	}
	return c
}

func failure() fleet.Capture {
	c := frame()
	c.Reading = fleet.Reading{}
	c.Outcome, c.Cause, c.Detail, c.Attempts = fleet.Failed, fleet.CauseTimeout, "grab cam: no answer in 10 s", 3
	return c
}

func TestCapturesRoundTrip(t *testing.T) {
	want := []fleet.Capture{frame(), failure(), frame()}
	var b []byte
	for _, c := range want {
		b = wire.AppendCapture(b, c)
	}
	got, err := wire.ParseCaptures(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if n := len(wire.AppendCapture(nil, frame())); n > 180 {
		t.Errorf("a captured frame takes %d bytes, want <= 180", n)
	}
}

func TestOrdersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fleet.Order {
			nominal := fleet.Instant(rapid.Int64Range(0, 1<<45).Draw(t, "nominal"))
			return fleet.Order{
				Occurrence: fleet.Occurrence{Camera: fleet.CameraID(rapid.Uint64().Draw(t, "camera")), Schedule: fleet.ScheduleID(rapid.Uint64().Draw(t, "schedule")), Nominal: nominal},
				Deadline:   nominal + fleet.Instant(rapid.Int64Range(0, 1<<40).Draw(t, "within")),
				Retries:    rapid.Byte().Draw(t, "retries"),
				Fence:      rapid.Uint64().Draw(t, "fence"),
			}
		}), 1, 20).Draw(t, "orders")
		var b []byte
		for _, o := range want {
			b = wire.AppendOrder(b, o)
		}
		got, err := wire.ParseOrders(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	})
}

// A text beyond its bound is cut, not refused: a long error must never keep an
// outcome from being reported.
func TestLongDetailIsCut(t *testing.T) {
	c := failure()
	c.Detail = strings.Repeat("x", 10*fleet.MaxDetail)
	got, err := wire.ParseCaptures(wire.AppendCapture(nil, c))
	if err != nil || len(got[0].Detail) != fleet.MaxDetail {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestMalformedRecords(t *testing.T) {
	whole := wire.AppendCapture(nil, frame())
	newer := append([]byte{}, whole...)
	newer[2] = 99
	for name, b := range map[string][]byte{
		"cut":          whole[:len(whole)-1],
		"length only":  {0x85, 0x01},
		"zero length":  {0, 0, 0},
		"huge length":  {0xff, 0xff, 0xff, 0xff, 0x7f},
		"newer layout": newer,
		"left over":    append([]byte{byte(len(whole)-2+1) | 0x80, byte((len(whole) - 1) >> 7)}, append(whole[2:len(whole):len(whole)], 0)...),
	} {
		if got, err := wire.ParseCaptures(b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func FuzzParseCaptures(f *testing.F) {
	f.Add(wire.AppendCapture(wire.AppendCapture(nil, frame()), failure()))
	bad := frame()
	bad.Reading.Verdict = fleet.Verdict{Fault: fleet.FaultMoved, Lasting: fleet.FaultMoved, Metric: "correlation", ShiftX: 0.1, Learning: true}
	f.Add(wire.AppendCapture(nil, bad))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		cs, err := wire.ParseCaptures(b)
		if err != nil {
			return
		}
		var again []byte
		for _, c := range cs {
			again = wire.AppendCapture(again, c)
		}
		back, err := wire.ParseCaptures(again)
		if err != nil || len(back) != len(cs) {
			t.Fatalf("%x read as %v, and written again reads as %v, %v", b, cs, back, err)
		}
	})
}

func FuzzParseOrders(f *testing.F) {
	f.Add(wire.AppendOrder(nil, fleet.Order{Occurrence: frame().Occurrence, Deadline: 1_800_000_060_123, Retries: 2, Fence: 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if os, err := wire.ParseOrders(b); err == nil && len(b) > 0 && len(os) == 0 {
			t.Fatalf("%x read as nothing", b)
		}
	})
}

func BenchmarkAppendCapture(b *testing.B) {
	c, buf := frame(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendCapture(buf[:0], c)
	}
	b.ReportMetric(float64(len(buf)), "B/capture")
}

func BenchmarkParseCaptures(b *testing.B) {
	var buf []byte
	for range 64 {
		buf = wire.AppendCapture(buf, frame())
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.ParseCaptures(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/capture")
}
