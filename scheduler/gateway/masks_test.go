package gateway_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// camera adds one, and has each camera photographed when it is approved.
func (d *door) camera() scheduler.CameraView {
	d.t.Helper()
	if _, err := d.sched.ApplySchedules(d.t.Context(), []calendar.Spec{{Name: "hi", Select: "*", Once: "approval"}}, scheduler.ApplyOptions{}); err != nil {
		d.t.Fatal(err)
	}
	cam, err := d.sched.AddCamera(d.t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a"})
	if err != nil {
		d.t.Fatal(err)
	}
	return cam
}

// TestMaskOnTheWire: an agent whose Hello knows masks gets a camera's mask with
// its list, its orders name the revision, and its thumbnails count under the
// mask that they say; one that knows none gets nothing of the camera.
func TestMaskOnTheWire(t *testing.T) {
	d := open(t)
	cam := d.camera()
	shapes := &fleet.Mask{Polygons: [][]fleet.Point{{{X: 0.1, Y: 1.0 / 3}, {X: 1}, {Y: 1}}}}
	for range 3 { // revision 3
		for _, m := range []*fleet.Mask{nil, shapes} {
			if _, err := d.sched.SetMask(t.Context(), scheduler.NewMask{Camera: cam.ID, Mask: m}); err != nil {
				t.Fatal(err)
			}
		}
	}
	next := func(s wire.Agents_LinkClient) *wire.Instruction {
		t.Helper()
		for {
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if b := m.GetSigned().GetInstruction(); b != nil {
				in := &wire.Instruction{}
				if err := proto.Unmarshal(b, in); err != nil {
					t.Fatal(err)
				}
				return in
			}
		}
	}

	_, cert := d.enrol(scheduler.NewKey{Site: "lab", Approve: true})
	s, _, err := d.link(hello(), cert)
	if err != nil {
		t.Fatal(err)
	}
	if in := next(s); in.GetCameras() == nil || len(in.GetCameras().GetPut()) != 0 {
		t.Errorf("an agent that knows no masks is told first %v", in)
	}
	if in := next(s); in.GetStanding() == nil || len(in.GetStanding().GetTasks()) != 0 {
		t.Errorf("and then %v", in)
	}

	_, cert = d.enrol(scheduler.NewKey{Site: "lab", Approve: true})
	h := hello()
	h.GetHello().Masks = true
	if s, _, err = d.link(h, cert); err != nil {
		t.Fatal(err)
	}
	in := next(s)
	put := in.GetCameras().GetPut()
	if len(put) != 1 || put[0].GetMask().GetRevision() != 5 {
		t.Fatalf("an agent that knows masks is told first %v", in)
	}
	got, err := fleet.ParseMask(put[0].GetMask().GetShapes())
	if err != nil || got.Sum() != shapes.Sum() {
		t.Errorf("%v: %+v", err, got)
	}
	needed := func(m []*wire.MaskNeeded) bool {
		return len(m) == 1 && m[0].GetCamera() == uint64(cam.ID) && m[0].GetRevision() == 5
	}
	for standing, orders := false, false; !standing || !orders; {
		switch in := next(s); {
		case in.GetStanding() != nil && len(in.GetStanding().GetTasks()) > 0:
			standing = true
			if !needed(in.GetStanding().GetMasks()) {
				t.Errorf("%v", in)
			}
		case in.GetOrders() != nil:
			orders = true
			if !needed(in.GetOrders().GetMasks()) {
				t.Errorf("%v", in)
			}
		}
	}
	for i, mask := range []fleet.MaskSum{0, shapes.Sum(), shapes.Sum() + 1} {
		batch := uint64(i + 1)
		err := s.Send(&wire.FromAgent{Body: &wire.FromAgent_Thumbnail{Thumbnail: &wire.Thumbnail{Batch: batch, Camera: uint64(cam.ID), AtMs: int64(i + 10), Jpeg: []byte{0xff, 0xd8, 0xff}, Mask: uint64(mask)}}})
		if err != nil {
			t.Fatal(err)
		}
		for {
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.GetThumbnailStored().GetBatch() == batch { // also of one that is dropped: the agent need not keep it
				break
			}
		}
	}
	if _, at, err := d.sched.Thumbnail(t.Context(), cam.ID); err != nil || at != 11 {
		t.Errorf("the thumbnail of %d is shown: %v", at, err)
	}
}

// TestPicturesOfAnAgentWithoutMasks: what comes over the line of an agent whose
// Hello knows no masks, of a camera that has got one, is acknowledged, so that it
// need not be sent again, and not kept.
func TestPicturesOfAnAgentWithoutMasks(t *testing.T) {
	d := open(t)
	cam := d.camera()
	_, cert := d.enrol(scheduler.NewKey{Site: "lab", Approve: true})
	s, _, err := d.link(hello(), cert)
	if err != nil {
		t.Fatal(err)
	}
	receive := func() *wire.FromCentre {
		t.Helper()
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var order fleet.Order
	for order.Camera == 0 {
		in := &wire.Instruction{}
		if err := proto.Unmarshal(receive().GetSigned().GetInstruction(), in); err != nil {
			t.Fatal(err)
		}
		if packed := in.GetOrders().GetPacked(); len(packed) > 0 {
			orders, err := wire.ParseOrders(packed)
			if err != nil || len(orders) != 1 {
				t.Fatal(orders, err)
			}
			order = orders[0]
		}
	}
	shapes := &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.5, Height: 1}}}
	v, err := d.sched.SetMask(t.Context(), scheduler.NewMask{Camera: cam.ID, Mask: shapes})
	if err != nil || len(v.Agents) != 1 || v.Agents[0].State != scheduler.MaskOutdated {
		t.Fatalf("%+v, %v", v, err)
	}
	taken := fleet.Capture{Occurrence: order.Occurrence, Outcome: fleet.Captured, At: v.At + 1, Attempts: 1, Protocol: fleet.RTSP,
		Reading: fleet.Reading{Width: 640, Height: 360, Codec: fleet.H264, Fingerprint: fleet.Fingerprint{PDQ: fleet.PDQ{1}, PDQQuality: 99, PHash: 77, Rules: fleet.RulesFirst}}}
	for _, m := range []*wire.FromAgent{
		{Body: &wire.FromAgent_Thumbnail{Thumbnail: &wire.Thumbnail{Batch: 1, Camera: uint64(cam.ID), AtMs: int64(taken.At), Jpeg: []byte{0xff, 0xd8, 0xff}}}},
		{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: 2, Packed: wire.AppendCapture(nil, taken)}}},
	} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	for thumbnail, report := false, false; !thumbnail || !report; {
		m := receive()
		thumbnail = thumbnail || m.GetThumbnailStored().GetBatch() == 1
		report = report || m.GetReportStored().GetBatch() == 2
	}
	if _, _, err := d.sched.Thumbnail(t.Context(), cam.ID); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("its thumbnail is kept: %v", err)
	}
	all, _, err := d.sched.Captures(t.Context(), scheduler.CaptureQuery{Limit: 10})
	if err != nil || len(all) != 1 || all[0].Outcome != fleet.Failed || all[0].Cause != fleet.CauseMask || all[0].Reading.Fingerprint != (fleet.Fingerprint{}) {
		t.Errorf("%v: its picture is accounted as %+v", err, all)
	}
}
