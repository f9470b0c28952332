package agent

import (
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Bears tells in a line how many cameras the agent speaks to at a time, why,
// and whether it leaves this one alone for a while; camera may be 0.
func (a *Agent) Bears(camera fleet.CameraID) string {
	c := a.runner.Concurrency()
	text := fmt.Sprintf("the agent speaks to %d of at most %d cameras at a time", c.Used, c.Limit)
	if c.Cuts > 0 {
		text += fmt.Sprintf(" (halved %d times after timeouts and refusals, last %s ago)", c.Cuts, time.Since(c.LastCut).Round(time.Second))
	}
	if camera == 0 {
		return text
	}
	if s := a.runner.Camera(camera); s.LeftFor > 0 {
		text += fmt.Sprintf("; it leaves this camera alone for %s yet, after %d failures in a row", s.LeftFor.Round(time.Second), s.Failures)
	}
	return text
}
