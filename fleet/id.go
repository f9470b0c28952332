package fleet

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// SiteID names one place with one or more agents that reach the same cameras.
// It is chosen by the operator, for example "store-12".
type SiteID string

// AgentID identifies one enrolled agent. The centre issues it at enrolment and
// writes it into the agent's certificate as the common name.
type AgentID string

// CameraID identifies one schedulable video source. The centre issues it; it is
// eight bytes so that millions of them stay cheap, and reads "cam-" followed by
// thirteen base32 characters wherever a person meets it.
type CameraID uint64

// ScheduleID identifies a schedule. It is derived from the schedule's name, so
// agents and schedulers agree on it without asking each other.
type ScheduleID uint64

const cameraPrefix = "cam-"

// idText is Crockford's base32 in lower case: no letter that reads as a digit.
var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// String returns the text form, for example "cam-0r4k2m7q1x0ab".
func (c CameraID) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(c))
	return cameraPrefix + idText.EncodeToString(b[:])
}

// ParseCameraID reads what CameraID.String wrote.
func ParseCameraID(s string) (CameraID, error) {
	rest, ok := strings.CutPrefix(s, cameraPrefix)
	b, err := idText.DecodeString(rest)
	if !ok || err != nil || len(b) != 8 || idText.EncodeToString(b) != rest {
		return 0, fmt.Errorf("camera id %q: want cam- and 13 base32 characters, as `cameras ls` prints them", s)
	}
	return CameraID(binary.BigEndian.Uint64(b)), nil
}

// MarshalText writes the text form; JSON and YAML use it.
func (c CameraID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text form.
func (c *CameraID) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCameraID(string(b))
	return err
}

// ScheduleIDOf returns the identity of the schedule called name: the first
// eight bytes of the SHA-256 of the name.
func ScheduleIDOf(name string) ScheduleID {
	h := sha256.Sum256([]byte(name))
	return ScheduleID(binary.BigEndian.Uint64(h[:8]))
}

// String returns sixteen hexadecimal digits.
func (s ScheduleID) String() string { return fmt.Sprintf("%016x", uint64(s)) }
