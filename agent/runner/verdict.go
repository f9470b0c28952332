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
	err      error
}

// fine is the verdict on a frame that has no fault.
const fine calendar.Verdict = ""

// verdict returns the worst that can be said of a frame.
func (s shot) verdict() calendar.Verdict {
	if s.err != nil {
		if ce, ok := errors.AsType[*fleet.CameraError](s.err); ok && ce.Cause == fleet.CauseCorrupt {
			return calendar.VerdictCorrupt
		}
		return fine // a retake does not cure it
	}
	switch q := s.reading.Quality; {
	case black(q):
		return calendar.VerdictBlack
	case blurred(q):
		return calendar.VerdictBlurred
	}
	return fine
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

// The bounds of the verdicts, chosen between the scores of twelve photographs
// and of the same ones blurred, and of black frames (verdict_test.go has some).
const (
	// darkShare is how much of a black frame is at the sensor's floor: a lamp in
	// the night is more than the rest, a clock drawn over the picture is less.
	darkShare = 0.98
	// sharpShare is how much Laplacian variance a sharp frame has for its own
	// variance. Photographs have 0.03 to 1.7, and less than 0.0075 after a blur
	// of 7 pixels, twice.
	sharpShare = 0.0075
	// leastContrast is below which nothing is said: a wall is smooth and sharp.
	leastContrast = 8
	// rounding is the Laplacian's variance of rounding to whole values alone:
	// 1/12 for each of the weights 1, 1, 1, 1 and 16.
	rounding = 20.0 / 12
)

// black reports whether a frame shows nothing.
func black(q fleet.Quality) bool { return q.Dark >= darkShare }

// blurred reports whether a frame has contrast and no edges. A blurred picture
// with a sharp text over it passes.
func blurred(q fleet.Quality) bool {
	return q.Contrast >= leastContrast && q.Sharpness-rounding < sharpShare*q.Contrast*q.Contrast
}
