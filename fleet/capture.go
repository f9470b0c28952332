package fleet

import (
	"encoding/hex"
	"fmt"
	"time"
)

// Outcome is how an occurrence ended. Exactly one is ever stored for each.
type Outcome uint8

// The outcomes. Their numbers are part of the wire and store formats.
const (
	Captured Outcome = 1 // a frame was taken and read
	Failed   Outcome = 2 // it was tried, and the cause says why it did not work
	Missed   Outcome = 3 // it was never tried, and the cause says why
	Skipped  Outcome = 4 // a policy said not to
)

var outcomeText = map[Outcome]string{Captured: "captured", Failed: "failed", Missed: "missed", Skipped: "skipped"}

// String returns the word used on the API, in logs and on the page.
func (o Outcome) String() string {
	if s, ok := outcomeText[o]; ok {
		return s
	}
	return fmt.Sprintf("outcome-%d", uint8(o))
}

// MarshalText writes the word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the word.
func (o *Outcome) UnmarshalText(b []byte) error {
	for k, s := range outcomeText {
		if s == string(b) {
			*o = k
			return nil
		}
	}
	return fmt.Errorf("outcome %q: want captured, failed, missed or skipped", b)
}

// Cause says why an outcome is not a picture. It is empty for Captured.
type Cause string

// The causes. Each is a word that an operator reads; docs/causes.md explains
// each with its fix.
const (
	CauseUnreachable      Cause = "unreachable"       // no route, no answer to a connect, or no such host
	CauseRefused          Cause = "refused"           // the camera refused the connection, or one more of them
	CauseTimeout          Cause = "timeout"           // it went silent until the deadline
	CauseUnauthorized     Cause = "needs-credentials" // no login is known, or the known one is refused
	CauseLocked           Cause = "locked"            // the camera, or our own login budget, blocks further logins
	CauseNotFound         Cause = "not-found"         // the address works, the picture's path does not
	CauseProtocol         Cause = "protocol"          // the answer breaks the protocol
	CauseTooLarge         Cause = "too-large"         // a limit on bytes or pixels was hit
	CauseCorrupt          Cause = "corrupt"           // a frame came and could not be decoded
	CauseNoKeyframe       Cause = "no-keyframe"       // the stream had no key frame before the deadline
	CauseUnsupportedCodec Cause = "unsupported-codec" // nothing on this agent decodes it; the detail says what to install
	CauseGuarded          Cause = "guarded"           // the camera pointed to another host and the guard said no
	CauseStorage          Cause = "storage"           // the agent could not store the result
	CauseDeadline         Cause = "deadline"          // it was not this occurrence's turn before its deadline
	CauseAgentLost        Cause = "agent-lost"        // no agent of the site was there in time, or it never reported
	CauseSchedulerDown    Cause = "scheduler-down"    // never issued: the scheduler was not running
	CausePaused           Cause = "paused"            // an operator paused it
	CauseBackoff          Cause = "backoff"           // the camera's breaker is open after repeated failures
	CauseOverlap          Cause = "overlap"           // the occurrence before had not ended, and the schedule says to skip then
	CauseReplaced         Cause = "replaced"          // the next occurrence took its place, as the schedule says
	CauseOverload         Cause = "overload"          // the agent had more to do than it can, and higher classes went first
	CauseMask             Cause = "mask-missing"      // the camera has a privacy mask, and the agent that was to hide what it says does not have it
	CauseInternal         Cause = "internal"          // a fault of our own; the detail says which
)

// Codec names how a frame is coded.
type Codec string

// The codecs that frames come in.
const (
	JPEG Codec = "jpeg"
	PNG  Codec = "png"
	PGM  Codec = "pgm"
	H264 Codec = "h264" // Annex B, one access unit with its parameter sets
	H265 Codec = "h265" // Annex B, one access unit with its parameter sets
)

// Frame is one encoded still as it came from a camera.
type Frame struct {
	Data   []byte
	Codec  Codec
	Origin Origin
	At     time.Time // when its last byte arrived, on the agent's corrected clock
}

// Origin says where a frame came from. It holds no credentials.
type Origin struct {
	Protocol Protocol
	URL      string
}

// PDQ is a 256-bit PDQ hash as the big-endian number that its usual text form
// spells: the first byte holds the first two hex digits.
type PDQ [32]byte

// String returns 64 lower-case hex digits.
func (p PDQ) String() string { return hex.EncodeToString(p[:]) }

// MarshalText writes 64 hex digits.
func (p PDQ) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads 64 hex digits.
func (p *PDQ) UnmarshalText(b []byte) error {
	if len(b) != 64 {
		return fmt.Errorf("pdq hash has %d digits: want 64", len(b))
	}
	_, err := hex.Decode(p[:], b)
	return err
}

// PHash is a 64-bit DCT perceptual hash, first bit highest.
type PHash uint64

// String returns 16 lower-case hex digits.
func (p PHash) String() string { return fmt.Sprintf("%016x", uint64(p)) }

// MarshalText writes 16 hex digits.
func (p PHash) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads 16 hex digits.
func (p *PHash) UnmarshalText(b []byte) error {
	if _, err := fmt.Sscanf(string(b), "%016x", (*uint64)(p)); err != nil || len(b) != 16 {
		return fmt.Errorf("phash %q: want 16 hex digits", b)
	}
	return nil
}

// Fingerprint is what is remembered of a frame's looks.
type Fingerprint struct {
	PDQ        PDQ   `json:"pdq"`
	PDQQuality uint8 `json:"pdq_quality"` // 0..100; below 50 the hash is stored and not searched
	PHash      PHash `json:"phash"`
	Rules      Rules `json:"-"` // what the hashes follow: those of different rules do not compare

	// Mask is what was hidden of the frame: hashes under different masks do not
	// compare.
	Mask MaskSum `json:"mask,omitzero"`
}

// Rules says which rules the hashes of a Fingerprint follow. Its numbers are
// part of the wire and store formats; a changed rule has the next one.
type Rules uint8

// The rules.
const (
	RulesUnknown Rules = 0 // not said: a record of a build before the first one
	RulesFirst   Rules = 1 // pdq-256/1 and phash-64/2
)

// Quality holds a frame's first scores, all over the luma plane as coded.
type Quality struct {
	Mean      float32 `json:"mean"`      // 0..255
	Contrast  float32 `json:"contrast"`  // standard deviation, 0..127.5
	Sharpness float32 `json:"sharpness"` // variance of the 3x3 Laplacian
	Dark      float32 `json:"dark"`      // share of samples <= 16
	Bright    float32 `json:"bright"`    // share of samples >= 240
	Entropy   float32 `json:"entropy"`   // bits per sample, 0..8
}

// Fault is what is wrong with a picture.
type Fault string

// The faults that a Verdict names, and the two words for none. What each means
// is in docs/fingerprints.md.
const (
	NotJudged         Fault = ""   // nobody looked: a record of an older build
	FaultNone         Fault = "ok" // it was judged, and nothing is wrong
	FaultBlack        Fault = "black"
	FaultOverExposed  Fault = "over-exposed"
	FaultUnderExposed Fault = "under-exposed"
	FaultFlat         Fault = "flat"
	FaultBlurred      Fault = "blurred"
	FaultCovered      Fault = "covered"
	FaultMoved        Fault = "moved"
	FaultFrozen       Fault = "frozen"
	FaultNoisy        Fault = "noisy"
	FaultCorrupt      Fault = "corrupt"
)

// Verdict is what is said of one frame, measured against how its camera's
// pictures usually are. Of a frame without a fault only Fault, Lasting and
// Learning are set.
type Verdict struct {
	Fault    Fault
	Lasting  Fault   // what has been wrong for long enough to hold for the camera; NotJudged when nothing has
	Learning bool    // the camera is not known yet by this light: only what is wrong for any camera is said
	Score    float32 // how far beyond its limit, 0.5 at the limit .. 1
	Metric   string  // which number decided; docs/fingerprints.md lists them
	Value    float32 // of this frame
	Usual    float32 // of this camera, at this hour or by this light; 0 when none is known
	Limit    float32 // what Value passed
	ShiftX   float32 // of FaultMoved: how far the picture moved to the right, as a share of its width
	ShiftY   float32 // and downwards, of its height
}

// Bad reports whether a fault was found.
func (v Verdict) Bad() bool { return v.Fault != NotJudged && v.Fault != FaultNone }

// Reading is all that was computed from one frame.
type Reading struct {
	Width, Height uint16
	Codec         Codec
	Bytes         uint32
	SHA256        [32]byte // of Frame.Data
	Fingerprint   Fingerprint
	Quality       Quality
	Verdict       Verdict
	Thumbnail     []byte // JPEG, at most 320 pixels wide and 640 high; nil when none was asked for
}

// Capture is the final outcome of one occurrence. For Captured all of Reading
// is set but the thumbnail, which travels apart; otherwise Cause and Detail are.
type Capture struct {
	Occurrence
	Outcome  Outcome
	Cause    Cause
	Detail   string        // the error for a person, at most MaxDetail bytes, without credentials
	Agent    AgentID       // who reported; empty when the centre itself decided
	At       Instant       // when the frame was complete, or when the outcome was decided
	Bound    time.Duration // the clock of At may be wrong by this much
	Delay    time.Duration // from the nominal time to the first try; never negative
	Took     time.Duration // from the first try to the outcome
	Attempts uint8
	Retakes  uint8    // frames taken beyond the first because the schedule's retake asked for them
	Protocol Protocol // what the frame came over
	Reading  Reading
}

// MaxDetail bounds Capture.Detail in bytes.
const MaxDetail = 240

// CameraError is a failure with the cause that its capture will carry. Every
// package that talks to a camera returns one for what the camera did.
type CameraError struct {
	Cause Cause
	Err   error
}

// Errorf returns a CameraError with a formatted text; %w works as in fmt.
func Errorf(c Cause, format string, args ...any) *CameraError {
	return &CameraError{Cause: c, Err: fmt.Errorf(format, args...)}
}

// Error returns the text alone; the cause is shown beside it.
func (e *CameraError) Error() string { return e.Err.Error() }

// Unwrap returns what went wrong underneath.
func (e *CameraError) Unwrap() error { return e.Err }
