package camtest

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is something that can be wrong with a camera.
type Fault string

// The faults. The first six are in the picture, the others in the manners.
const (
	Blurred        Fault = "blurred"         // out of focus
	Covered        Fault = "covered"         // something hangs before the lens
	OverExposed    Fault = "over-exposed"    // most of it is white
	Black          Fault = "black"           // nothing but the sensor's noise
	Frozen         Fault = "frozen"          // the same bytes again and again
	Moved          Fault = "moved"           // it looks elsewhere
	Slow           Fault = "slow"            // sends slowRate bytes a second
	Silent         Fault = "silent"          // accepts connections and says nothing
	OneConnection  Fault = "one-connection"  // refuses a picture while another connection has one
	WrongPassword  Fault = "wrong-password"  // the password was changed
	Lockout        Fault = "lockout"         // after LockAfter wrong logins refuses all, until the fault is switched off
	ChangedAddress Fault = "changed-address" // serves and announces itself at its other address
	CountsTries    Fault = "counts-tries"    // says in each refusal how many tries are left of LockAfter
	ChangedKey     Fault = "changed-key"     // over HTTPS shows another key
)

// Faults returns all faults.
func Faults() []Fault {
	return []Fault{Blurred, Covered, OverExposed, Black, Frozen, Moved, Slow, Silent, OneConnection, WrongPassword, Lockout, ChangedAddress, CountsTries, ChangedKey}
}

func faultNames() string {
	var names []string
	for _, f := range Faults() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// CameraFault is a fault of the camera of that name; "*" is all of them.
type CameraFault struct {
	Camera string
	Fault  Fault
}

// ParseFaults reads a list such as "gate-north=blurred,dock-2=silent,*=slow".
// An empty list has no faults. Whether the cameras exist shows in SetFault.
func ParseFaults(list string) ([]CameraFault, error) {
	var out []CameraFault
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, fault, ok := strings.Cut(part, "=")
		f := CameraFault{strings.TrimSpace(name), Fault(strings.TrimSpace(fault))}
		if !ok || f.Camera == "" {
			return nil, fmt.Errorf("fault %q: write camera=fault", part)
		}
		if !slices.Contains(Faults(), f.Fault) {
			return nil, fmt.Errorf("fault %q: no fault is called %q; there are %s", part, f.Fault, faultNames())
		}
		out = append(out, f)
	}
	return out, nil
}
