package calendar_test

import (
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// The clocks of New York jump from 02:00 to 03:00 on 8 March 2026: the time
// that is lost runs at the end of the gap.
func Example() {
	gate, err := calendar.Spec{
		Name:   "gate-at-night",
		Select: "role=gate",
		Cron:   calendar.List{"30 2 * * *"},
		TZ:     "America/New_York",
	}.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	newYork, _ := time.LoadLocation("America/New_York")
	at := fleet.At(time.Date(2026, 3, 7, 0, 0, 0, 0, newYork))
	for range 3 {
		at, _ = gate.Next(calendar.Task{Camera: 1}, at)
		fmt.Println(at.Time().In(newYork).Format(time.RFC3339))
	}
	// Output:
	// 2026-03-07T02:30:00-05:00
	// 2026-03-08T03:00:00-04:00
	// 2026-03-09T02:30:00-04:00
}
