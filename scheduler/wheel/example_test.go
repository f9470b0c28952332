package wheel_test

import (
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// A task that recurs every 100 ms files itself again from inside fire.
func Example() {
	w := wheel.New(0)
	w.Add(100, 7)
	gone := w.Add(150, 8)
	w.Cancel(gone)
	for w.Len() > 0 {
		next, _ := w.Next() // a driver sleeps until then
		if next > 300 {
			break
		}
		w.Advance(next, func(batch []wheel.Due) {
			for _, due := range batch {
				fmt.Println(due.Key, int64(due.At))
				w.Add(due.At+fleet.Instant(100), due.Key)
			}
		})
	}
	// Output:
	// 7 100
	// 7 200
	// 7 300
}
