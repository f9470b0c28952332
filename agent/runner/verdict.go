package runner

import (
	"errors"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// shot is one frame, read or not.
type shot struct {
	at       time.Time // its last byte
	protocol fleet.Protocol
	reading  fleet.Reading
	keep     func() // has the judge remember it; nil when there is nothing to
	err      error
}

// fine is the verdict on a frame that has no fault that a retake is for.
const fine calendar.Verdict = ""

// verdict returns what of the words that schedules know was said of a frame.
func (s shot) verdict() calendar.Verdict {
	if s.err != nil {
		if ce, ok := errors.AsType[*fleet.CameraError](s.err); ok && ce.Cause == fleet.CauseCorrupt {
			return calendar.VerdictCorrupt
		}
		return fine // a retake does not cure it
	}
	switch s.reading.Verdict.Fault {
	case fleet.FaultBlack:
		return calendar.VerdictBlack
	case fleet.FaultBlurred:
		return calendar.VerdictBlurred
	case fleet.FaultCorrupt:
		return calendar.VerdictCorrupt
	}
	return fine // of the other faults the next frame has the same
}

// better reports whether s is to be kept rather than o, which came before: a
// frame that could be read over one that could not, then the lighter fault,
// then, of two black ones, the one that shows more, and otherwise the sharper.
func (s shot) better(o shot) bool {
	if (s.err == nil) != (o.err == nil) {
		return s.err == nil
	}
	if a, b := gravity(s.verdict()), gravity(o.verdict()); a != b {
		return a < b
	}
	if s.verdict() == calendar.VerdictBlack {
		return s.reading.Quality.Contrast > o.reading.Quality.Contrast
	}
	return s.reading.Quality.Sharpness > o.reading.Quality.Sharpness
}

func gravity(v calendar.Verdict) int {
	switch v {
	case calendar.VerdictBlurred:
		return 1
	case calendar.VerdictBlack:
		return 2
	case calendar.VerdictCorrupt:
		return 3
	}
	return 0
}
