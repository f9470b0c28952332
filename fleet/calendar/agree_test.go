package calendar

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// drawSpec returns a spec of any kind, with anything that narrows it.
func drawSpec(t *rapid.T) Spec {
	maybe := func(name string) bool { return rapid.Bool().Draw(t, name) }
	spec := Spec{Name: rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "name"), Select: "*"}
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		spec.Every = Duration(rapid.Int64Range(60_000, 1e9).Draw(t, "every")) * Duration(time.Millisecond)
		if maybe("aligned") {
			spec.AtPhase = new(Offset(rapid.Int64Range(0, 59_999).Draw(t, "phase")) * Offset(time.Millisecond))
		}
	case 1:
		for range rapid.IntRange(1, 3).Draw(t, "crons") {
			spec.Cron = append(spec.Cron, drawModel(t).text)
		}
	case 2:
		spec.Cron = List{"*/10 5 6 * * *"}
	case 3:
		spec.Sun = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"sunrise+30m", "sunset", "noon-1h", "dawn", "dusk+11h"}), 1, 3, rapid.ID).Draw(t, "marks")
	case 4:
		spec.Once = rapid.SampledFrom([]string{"approval", "2027-03-01T06:00:00Z"}).Draw(t, "once")
	}
	zone := func(name string) string { return rapid.SampledFrom(append(zones(), "")).Draw(t, name) }
	spec.TZ = zone("tz")
	if maybe("own place") {
		spec.At = &Coordinates{rapid.Float64Range(-90, 90).Draw(t, "lat"), rapid.Float64Range(-180, 180).Draw(t, "lon")}
	}
	if maybe("windows") {
		spec.Windows = rapid.SliceOfNDistinct(rapid.SampledFrom([]Window{
			{Days: List{"mon-fri"}},
			{Days: List{"sat", "sun"}, Hours: List{"22:00-02:30"}},
			{Hours: List{"sunrise-30m to 12:00", "13:00-02:00"}},
			{Hours: List{"dusk to dawn"}, From: "2027-02-01"},
			{From: "2026-03-01", Until: "2027-06-30"},
		}), 1, 3, func(w Window) string { return Spec{Windows: []Window{w}}.JSON() }).Draw(t, "which windows")
	}
	if maybe("exclude") {
		spec.Exclude = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
			"12-24..01-02", "2027-03-01..2027-03-05", "2026-11-01", "02-29",
			"2027-03-07T12:00:00Z/2027-03-08T03:00:00Z", "2026-03-08T01:00:00-05:00/2026-03-08T04:00:00-04:00",
			"2027-03-28T02:30:00/2027-03-28T12:00:00", "2026-10-04T02:10:00/2026-10-04T02:20:00", "2027-01-01T00:00:00/2027-01-20T12:00:00",
		}), 1, 6, rapid.ID).Draw(t, "which exclusions")
	}
	if maybe("from") {
		spec.From = rapid.SampledFrom([]string{"2027-01-01", "2026-03-08T07:00:00Z"}).Draw(t, "from date")
	}
	if maybe("until") {
		spec.Until = rapid.SampledFrom([]string{"2027-10-31", "2027-03-28T01:00:00Z"}).Draw(t, "until date")
	}
	if maybe("spread") {
		spec.Spread = Duration(rapid.Int64Range(1, 60_000).Draw(t, "width")) * Duration(time.Millisecond)
	}
	drawPolicies(t, &spec)
	return spec
}

func drawTask(t *rapid.T) Task {
	task := Task{
		Camera:  fleet.CameraID(rapid.Uint64().Draw(t, "camera")),
		Enabled: 1_770_000_000_000 + fleet.Instant(rapid.Int64Range(0, 6e10).Draw(t, "enabled")),
		Place:   Place{TZ: rapid.SampledFrom(append(zones(), "", "No/Such")).Draw(t, "site tz")},
		Aligned: rapid.IntRange(0, 4).Draw(t, "preview") == 0,
	}
	if rapid.Bool().Draw(t, "site placed") {
		lat, lon := rapid.Float64Range(-90, 90).Draw(t, "site lat"), rapid.Float64Range(-180, 180).Draw(t, "site lon")
		task.Place.Lat, task.Place.Lon = &lat, &lon
	}
	return task
}

// TestConsumersAgree: whoever asks, and however, has the same occurrences. The
// preview and the wheel walk from one to the next, an agent and the audit begin
// anywhere and ask for other cameras in between, and what agents hold was JSON
// on its way.
func TestConsumersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, task, other := drawSpec(t), drawTask(t), drawTask(t)
		walker, err := spec.Compile()
		if err != nil {
			t.Fatal(err)
		}
		var sent Spec
		if err := json.Unmarshal([]byte(spec.JSON()), &sent); err != nil {
			t.Fatal(err)
		}
		jumper, err := sent.Compile()
		if err != nil {
			t.Fatal(err)
		}
		begin := task.Enabled - 1
		var list []fleet.Instant
		end := fleet.Instant(1<<62 - 1) // where walking ended
		for after := begin; len(list) < 12; {
			n, ok := walker.Next(task, after)
			if !ok {
				break
			}
			list = append(list, n)
			after = n
		}
		if len(list) == 12 {
			end = list[11]
		}
		jumps := 6
		if len(list) < 12 {
			jumps = 1 // to find that there is none takes up to a second
		}
		for range jumps {
			high := begin + 30*86_400_000
			if len(list) > 0 {
				high = list[len(list)-1]
			}
			from := fleet.Instant(rapid.Int64Range(int64(begin)-1000, int64(high)).Draw(t, "jump"))
			if len(list) > 0 && rapid.Bool().Draw(t, "to an occurrence") {
				from = rapid.SampledFrom(list).Draw(t, "occurrence") - fleet.Instant(rapid.IntRange(0, 1).Draw(t, "just before"))
			}
			jumper.Next(other, from+fleet.Instant(rapid.Int64Range(-1e9, 1e9).Draw(t, "elsewhere")))
			i, _ := slices.BinarySearch(list, from+1)
			got, ok := jumper.Next(task, from)
			switch {
			case i < len(list):
				if !ok || got != list[i] {
					t.Fatalf("%s for %+v: Next(%v) = %v, %v; walking gives %v", spec.JSON(), task, from, got, ok, list[i])
				}
			case ok && got <= end:
				t.Fatalf("%s for %+v: Next(%v) = %v; walking gives none after it", spec.JSON(), task, from, got)
			}
		}
	})
}
