package guard

import (
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The budget of refused logins: cameras lock accounts after three to five.
const (
	perVersion = 2 // for one version of the credentials, for good
	perDevice  = 3 // for one device, over all credentials
	window     = 30 * time.Minute
	maxDevices = 50_000
)

// Budget counts login attempts: requests with credentials that were refused.
// It is safe for concurrent use.
type Budget struct {
	now func() time.Time

	mu      sync.Mutex
	devices map[string]*spent
}

type spent struct {
	versions map[uint64]int // refused, by version of the credentials
	at       []time.Time    // refused, on this device
}

func newBudget(now func() time.Time) *Budget {
	return &Budget{now: now, devices: map[string]*spent{}}
}

// Try returns nil if one more login may be tried, else a CameraError that says
// when or after what.
func (b *Budget) Try(device string, c fleet.Credentials) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.devices[device]
	if s == nil {
		return nil
	}
	if s.versions[c.Version] >= perVersion {
		return fleet.Errorf(fleet.CauseUnauthorized, "the login of %q was refused %d times: it is not tried again until it is changed (`shutterfleet creds put`)", c.User, perVersion)
	}
	s.prune(b.now())
	if len(s.at) >= perDevice {
		return fleet.Errorf(fleet.CauseLocked, "%d logins were refused: the next is tried after %s, so that the camera does not lock the account", perDevice, s.at[0].Add(window).UTC().Format(time.RFC3339))
	}
	return nil
}

func (s *spent) prune(now time.Time) {
	for len(s.at) > 0 && now.Sub(s.at[0]) >= window {
		s.at = s.at[1:]
	}
}

// Refused counts an attempt.
func (b *Budget) Refused(device string, c fleet.Credentials) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.devices[device]
	if s == nil {
		if len(b.devices) >= maxDevices {
			return
		}
		s = &spent{versions: map[uint64]int{}}
		b.devices[device] = s
	}
	now := b.now()
	s.prune(now)
	s.versions[c.Version]++
	s.at = append(s.at, now)
}

// Accepted frees the device: the login is right.
func (b *Budget) Accepted(device string, c fleet.Credentials) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.devices[device]; s != nil {
		delete(s.versions, c.Version)
		s.at = nil
	}
}
