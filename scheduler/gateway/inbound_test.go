package gateway

import (
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// FuzzInbound holds Inbound to what proto.Unmarshal makes of the same bytes,
// also when they come in two buffers.
func FuzzInbound(f *testing.F) {
	for _, m := range []*wire.FromAgent{
		{},
		{Body: &wire.FromAgent_Report{Report: &wire.Report{}}},
		{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: 7, Packed: []byte("records"), Pending: 3}}},
		{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: 1 << 63, Packed: make([]byte, 9856)}}},
		{Body: &wire.FromAgent_ClockProbe{ClockProbe: &wire.ClockProbe{T1: 12}}},
		{Body: &wire.FromAgent_Hello{Hello: &wire.Hello{WireVersion: 2, Codecs: []string{"jpeg"}}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, 1)
		f.Add(append(b, b...), 0)                   // a report twice: protobuf merges them
		f.Add(append(b, 0x32, 2, 8, 1), len(b))     // and then another body
		f.Add([]byte{0x1a, 4, 0x20, 1, 0x08, 2}, 3) // a field of a later version
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		want := &wire.FromAgent{}
		wantErr := proto.Unmarshal(b, want)
		var in Inbound
		data := mem.BufferSlice{mem.SliceBuffer(b)}
		if cut > 0 && cut < len(b) {
			data = mem.BufferSlice{mem.SliceBuffer(b[:cut]), mem.SliceBuffer(b[cut:])}
		}
		for range 2 { // its memory is used again
			err := newCodec().Unmarshal(data, &in)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%x: %v, want %v", b, err, wantErr)
			}
			if err == nil && !proto.Equal(in.m, want) {
				t.Fatalf("%x: %v, want %v", b, in.m, want)
			}
			in.Release()
		}
	})
}

// TestInboundAllocates nothing for a report but what its buffer's pool does.
func TestInboundAllocates(t *testing.T) {
	b, err := proto.Marshal(&wire.FromAgent{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: 7, Packed: make([]byte, 9856)}}})
	if err != nil {
		t.Fatal(err)
	}
	var in Inbound
	c, data := newCodec(), mem.BufferSlice{mem.SliceBuffer(b)}
	if n := testing.AllocsPerRun(100, func() {
		if err := c.Unmarshal(data, &in); err != nil || len(in.m.GetReport().GetPacked()) != 9856 {
			t.Fatal(err)
		}
		in.Release()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// TestDecisionsAreTold: what an operator decided about a device reaches agents.
func TestDecisionsAreTold(t *testing.T) {
	m := cameras(&scheduler.CameraList{Cameras: []fleet.Target{{Camera: 1, Device: "epr:1", Same: []string{"mac:1"}, Apart: []string{"mac:2", "mac:3"}}}})
	if c := m.GetPut()[0]; !slices.Equal(c.GetSame(), []string{"mac:1"}) || !slices.Equal(c.GetApart(), []string{"mac:2", "mac:3"}) {
		t.Errorf("told %v", c)
	}
}
