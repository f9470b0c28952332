package scheduler_test

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestJobIsDoneWithItsOutcomes looks at a job while its outcomes come in: when it
// says that it is done, it says what came of each camera.
func TestJobIsDoneWithItsOutcomes(t *testing.T) {
	const cameras = 100
	s, stop := open(t, t.TempDir())
	defer stop()
	a := enrol(t, s, "lab")
	addCameras(t, s, "lab", cameras)
	l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", ""))
	for range 10 {
		j := must[scheduler.Job](t)(s.CaptureNow(t.Context(), scheduler.NewJob{Selector: "*"}))
		var done []fleet.Capture
		for len(done) < cameras {
			for _, o := range must[scheduler.Instruction](t)(l.Next(t.Context())).Orders {
				done = append(done, fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Captured, At: o.Nominal})
			}
		}
		completed := make(chan error, 1)
		go func() { completed <- s.Complete(t.Context(), a.ID, done) }()
		for over := false; !over; {
			v, page, err := s.Job(t.Context(), j.ID, 0, cameras)
			if err != nil || len(page) != cameras {
				t.Fatalf("%d cameras, %v", len(page), err)
			}
			over = v.Books.InFlight == 0
			without := 0
			for _, c := range page {
				if c.Capture == nil {
					without++
				}
			}
			if over && without > 0 {
				t.Fatalf("it is done, and %d cameras have no outcome: %+v", without, v.Books)
			}
		}
		if err := <-completed; err != nil {
			t.Fatal(err)
		}
	}
}
