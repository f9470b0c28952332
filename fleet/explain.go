package fleet

import (
	"net/netip"
	"time"
)

// The kinds of commands that agents know.
const (
	CommandExplain = "explain" // argument ExplainRequest, progress Rung, result Explanation
	CommandReboot  = "reboot"  // argument RebootRequest, result RebootResult
	CommandTrust   = "trust"   // argument TrustRequest, result an empty object
	CommandRelearn = "relearn" // argument RelearnRequest, result RelearnResult
)

// RungResult is how one step of an explanation ended.
type RungResult string

// The results of a Rung.
const (
	RungOK      RungResult = "ok"
	RungFailed  RungResult = "failed"
	RungSkipped RungResult = "skipped" // it does not apply, or what it needs has failed
	RungWarning RungResult = "warning" // it is odd, and pictures may come all the same
)

// Rung is one step on the way to a camera's picture.
type Rung struct {
	Name   string        `json:"name"`
	Result RungResult    `json:"result"`
	Took   time.Duration `json:"took"`          // nanoseconds in JSON
	Detail string        `json:"detail"`        // what was seen, without credentials
	Fix    string        `json:"fix,omitempty"` // what to do; set when it failed, and with most warnings
}

// Explanation is the way from an agent to a camera, step by step.
type Explanation struct {
	Subject string `json:"subject"` // the camera's id, or an address
	Rungs   []Rung `json:"rungs"`   // in the order they were tried
}

// Failed returns the first rung that failed: the one to mend.
func (e Explanation) Failed() (Rung, bool) {
	for _, r := range e.Rungs {
		if r.Result == RungFailed {
			return r, true
		}
	}
	return Rung{}, false
}

// ExplainRequest asks for an explanation, of a camera or of an address that may
// be none yet.
type ExplainRequest struct {
	Camera  CameraID   `json:"camera,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
}

// RebootRequest asks to restart a camera.
type RebootRequest struct {
	Camera CameraID `json:"camera"`
}

// RebootResult is the camera's answer.
type RebootResult struct {
	Message string `json:"message"` // the camera's own words; may be empty
}

// TrustRequest asks to forget the TLS keys that a camera's device has shown: the
// next ones are taken for its own.
type TrustRequest struct {
	Camera CameraID `json:"camera"`
}

// RelearnRequest says that a camera looks as it should from now on: it was moved
// on purpose, and how its pictures usually are is to be learned anew.
type RelearnRequest struct {
	Camera CameraID `json:"camera"`
}

// RelearnResult tells what was forgotten.
type RelearnResult struct {
	Lasting Fault     `json:"lasting,omitempty"` // the fault that had lasted; empty for none
	Since   time.Time `json:"since,omitzero"`    // since when its frames had it
}
