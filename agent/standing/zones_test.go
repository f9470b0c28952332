package standing_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/agent/standing"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// TestZones: a camera's hour is its place's; of a zone that this box does not
// know, and of none, it is UTC's.
func TestZones(t *testing.T) {
	spec := every("a", time.Minute)
	m := &wire.Standing{Version: 1, Places: []string{`{"tz":"Asia/Kolkata"}`, `{}`, `{"tz":"Mars/Olympus"}`}}
	m.Schedules = []*wire.StandingSchedule{{Id: uint64(fleet.ScheduleIDOf("a")), Revision: 1, Spec: []byte(spec.JSON())}}
	for i := range uint32(3) {
		k := task(fleet.CameraID(i+1), "a", 1)
		k.Place = i
		m.Tasks = wire.AppendTask(m.Tasks, k)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	zones := parse(t, raw).Zones()
	for camera, want := range map[fleet.CameraID]string{1: "17:30", 2: "12:00", 3: "12:00"} {
		if z := zones[camera]; z == nil || noon.In(z).Format("15:04") != want {
			t.Errorf("camera %s: noon is at %v, want %s", camera, z, want)
		}
	}
	if zones[4] != nil {
		t.Errorf("a camera without a task has the zone %v", zones[4])
	}
	placeless, err := standing.Parse(encode(t, 1, 0, []calendar.Spec{spec}, nil))
	if err != nil || len(placeless.Zones()) != 0 {
		t.Errorf("%v, %v", placeless.Zones(), err)
	}
}
