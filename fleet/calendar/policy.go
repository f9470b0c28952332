package calendar

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Misfire says what becomes of occurrences that could not be issued before
// their deadline, because the scheduler was not running.
type Misfire struct {
	Max    int           // issue at most this many of the newest; 0 = none
	Within time.Duration // and only those whose nominal time is not longer ago
}

// The bounds of misfire: all(max n, within d).
const (
	maxMisfires      = 1000
	maxMisfireWithin = 7 * 24 * time.Hour
)

// parseMisfire reads "", "skip", "latest" and "all(max 10, within 6h)".
func parseMisfire(text string) (Misfire, error) {
	switch text {
	case "", "skip":
		return Misfire{}, nil
	case "latest":
		return Misfire{Max: 1, Within: maxMisfireWithin}, nil
	}
	bad := fmt.Errorf("%q: want skip, latest, or all(max 10, within 6h)", text)
	inner, ok := strings.CutPrefix(text, "all(")
	inner, closed := strings.CutSuffix(inner, ")")
	first, second, both := strings.Cut(inner, ",")
	if !ok || !closed || !both {
		return Misfire{}, bad
	}
	count, ok1 := strings.CutPrefix(strings.TrimSpace(first), "max ")
	within, ok2 := strings.CutPrefix(strings.TrimSpace(second), "within ")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if !ok1 || !ok2 || err != nil {
		return Misfire{}, bad
	}
	d, err := ParseDuration(strings.TrimSpace(within))
	switch {
	case err != nil:
		return Misfire{}, fmt.Errorf("%q: within: %w", text, err)
	case n < 1 || n > maxMisfires:
		return Misfire{}, fmt.Errorf("%q: max: want 1 to %d", text, maxMisfires)
	case time.Duration(d) > maxMisfireWithin:
		return Misfire{}, fmt.Errorf("%q: within: want at most %s", text, Duration(maxMisfireWithin))
	}
	return Misfire{Max: n, Within: time.Duration(d)}, nil
}

// Overlap says what happens when a camera is due for a schedule while the
// schedule's occurrence before has not ended.
type Overlap string

// The ways to overlap.
const (
	OverlapQueueOne Overlap = "queue-one" // wait for its end; of several that wait the newest runs, the others are skipped (default)
	OverlapSkip     Overlap = "skip"      // skip the new one
	OverlapReplace  Overlap = "replace"   // end the old one as skipped and begin the new one
)

func parseOverlap(text string) (Overlap, error) {
	switch o := Overlap(text); o {
	case "":
		return OverlapQueueOne, nil
	case OverlapQueueOne, OverlapSkip, OverlapReplace:
		return o, nil
	}
	return "", fmt.Errorf("%q: want skip, queue-one or replace", text)
}

// Verdict is a fault of a frame that a retake can be asked for.
type Verdict string

// The verdicts of Retake.
const (
	VerdictCorrupt Verdict = "corrupt" // it could not be decoded
	VerdictBlurred Verdict = "blurred"
	VerdictBlack   Verdict = "black"
)

// Retake asks for another frame when the first is bad. The best frame wins;
// it stays one occurrence. Its zero value asks for none.
type Retake struct {
	On  List  `json:"on" yaml:"on"`                       // corrupt, blurred, black
	Max uint8 `json:"max,omitempty" yaml:"max,omitempty"` // frames after the first; default 2
}

// UnmarshalJSON reads an object, or a list of faults alone.
func (r *Retake) UnmarshalJSON(b []byte) error {
	var on List
	if json.Unmarshal(b, &on) == nil {
		*r = Retake{On: on}
		return nil
	}
	type plain Retake
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return errors.New("want a list, for example [corrupt, black], or {on: [corrupt, black], max: 2}")
	}
	*r = Retake(p)
	return nil
}

// Wants reports whether a frame with this fault is taken again.
func (r Retake) Wants(v Verdict) bool { return slices.Contains(r.On, string(v)) }

const (
	defaultRetakes = 2
	maxRetakes     = 10
)

func (r *Retake) check() (Retake, error) {
	if r == nil {
		return Retake{}, nil
	}
	out := *r
	if len(r.On) == 0 {
		return out, errors.New("on is missing: want a list of corrupt, blurred, black")
	}
	for _, v := range r.On {
		if !slices.Contains([]Verdict{VerdictCorrupt, VerdictBlurred, VerdictBlack}, Verdict(v)) {
			return out, fmt.Errorf("on: %q: want corrupt, blurred or black", v)
		}
	}
	switch {
	case r.Max == 0:
		out.Max = defaultRetakes
	case r.Max > maxRetakes:
		return out, fmt.Errorf("max: %d: want 1 to %d", r.Max, maxRetakes)
	}
	return out, nil
}

// Retry says how a failed try is repeated: after a random part of
// min(Cap, Backoff<<tries), within the deadline (full jitter, as in Brooker,
// "Exponential Backoff And Jitter", 2015).
type Retry struct {
	Attempts  uint8    `json:"attempts" yaml:"attempts"`                       // tries after the first
	Backoff   Duration `json:"backoff,omitempty" yaml:"backoff,omitempty"`     // default 500ms
	Cap       Duration `json:"cap,omitempty" yaml:"cap,omitempty"`             // default 10s
	Elsewhere bool     `json:"elsewhere,omitempty" yaml:"elsewhere,omitempty"` // the last try is another agent's of the site
}

const (
	defaultBackoff = 500 * time.Millisecond
	defaultCap     = 10 * time.Second
	maxBackoff     = time.Hour
)

// MarshalJSON writes a number when nothing but Attempts is set.
func (r Retry) MarshalJSON() ([]byte, error) {
	if r == (Retry{Attempts: r.Attempts}) {
		return json.Marshal(r.Attempts)
	}
	type plain Retry
	return json.Marshal(plain(r))
}

// UnmarshalJSON reads a number of attempts, or an object.
func (r *Retry) UnmarshalJSON(b []byte) error {
	var attempts uint8
	if json.Unmarshal(b, &attempts) == nil {
		*r = Retry{Attempts: attempts}
		return nil
	}
	type plain Retry
	*r = Retry{Attempts: defaultRetries}
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		const want = "want a number, or {attempts: 2, backoff: 500ms, cap: 10s, elsewhere: true}"
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return errors.New(want)
		}
		return fmt.Errorf("%w; %s", err, want)
	}
	return nil
}

func (r *Retry) check() (Retry, error) {
	out := Retry{Attempts: defaultRetries}
	if r != nil {
		out = *r
	}
	if out.Backoff == 0 {
		out.Backoff = Duration(defaultBackoff)
	}
	if out.Cap == 0 {
		out.Cap = max(Duration(defaultCap), out.Backoff)
	}
	switch {
	case out.Attempts > maxRetries:
		return out, fmt.Errorf("%d: want at most %d tries after the first", out.Attempts, maxRetries)
	case time.Duration(out.Backoff) > maxBackoff || time.Duration(out.Cap) > maxBackoff:
		return out, fmt.Errorf("backoff and cap: want at most %s", Duration(maxBackoff))
	case out.Cap < out.Backoff:
		return out, fmt.Errorf("cap %s is below backoff %s", out.Cap, out.Backoff)
	}
	return out, nil
}

// Misfire returns what becomes of occurrences that were not issued in time.
func (s *Schedule) Misfire() Misfire { return s.misfire }

// Overlap returns what happens when the occurrence before has not ended.
func (s *Schedule) Overlap() Overlap { return s.overlap }

// Priority returns the class of its orders.
func (s *Schedule) Priority() fleet.Priority { return s.priority }

// Retake returns for which faults another frame is taken, and how often.
func (s *Schedule) Retake() Retake { return s.retake }

// Retry returns how failed tries are repeated.
func (s *Schedule) Retry() Retry { return s.retry }
