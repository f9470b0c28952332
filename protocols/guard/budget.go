package guard

import (
	"context"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The login budget, as the promise Gentle states it. Cheap cameras lock an
// account after about five wrong logins; three leave the owner two.
const (
	triesPerVersion = 2
	triesPerDevice  = 3
	budgetWindow    = 30 * time.Minute

	// maxBudgetDevices bounds the memory of refusals. It is far above what one
	// agent serves; beyond it the device that was quiet longest is forgotten.
	maxBudgetDevices = 16384
	// maxBudgetVersions bounds what one device can make us remember.
	maxBudgetVersions = 64
)

// Budget counts refused logins over all protocols, so that no camera is locked
// by us. An attempt is a request with credentials that was refused:
//
//   - per device, three in any 30 minutes;
//   - per credentials of a device, two; the second is final until they are
//     changed or stored anew (a new version). Credentials that have worked on
//     the device before get their two again after 30 minutes, because cameras
//     also answer 401 when they are merely out of connections.
//
// A success forgets all refusals of its device. A Budget is safe for use by
// several goroutines.
type Budget struct {
	now func() time.Time

	mu      sync.Mutex
	devices map[string]*account
}

// account is what is remembered of one device.
type account struct {
	refused []refusal // oldest first, at most maxBudgetVersions*triesPerVersion
	proven  fleet.Credentials
	worked  bool
	touched time.Time
	busy    chan struct{} // held by the one login of unproven credentials
}

type refusal struct {
	with fleet.Credentials
	at   time.Time
}

func newBudget(now func() time.Time) *Budget {
	return &Budget{now: now, devices: make(map[string]*account)}
}

// Try reports whether c may be tried on the device: nil, or a *fleet.CameraError
// with cause locked that says when the budget frees. It counts nothing; after
// the answer, exactly one of Refused and Accepted does.
func (b *Budget) Try(device string, c fleet.Credentials) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.devices[device]
	if !ok {
		return nil
	}
	return a.try(device, c, b.now())
}

func (a *account) try(device string, c fleet.Credentials, now time.Time) error {
	var forVersion, forDevice []time.Time
	proven := a.worked && a.proven == c
	for _, r := range a.refused {
		recent := now.Sub(r.at) < budgetWindow
		if recent {
			forDevice = append(forDevice, r.at)
		}
		if r.with == c && (recent || !proven) {
			forVersion = append(forVersion, r.at)
		}
	}
	switch {
	case len(forVersion) >= triesPerVersion && !proven:
		return fleet.Errorf(fleet.CauseLocked,
			"%s refused the login of user %q twice: no further try until its credentials are changed or stored again", device, c.User)
	case len(forVersion) >= triesPerVersion:
		return lockedUntil(device, forVersion[len(forVersion)-triesPerVersion].Add(budgetWindow), now)
	case len(forDevice) >= triesPerDevice:
		return lockedUntil(device, forDevice[len(forDevice)-triesPerDevice].Add(budgetWindow), now)
	}
	return nil
}

func lockedUntil(device string, free, now time.Time) error {
	return fleet.Errorf(fleet.CauseLocked, "the login budget of %s is used up: next try in %s, at %s",
		device, free.Sub(now).Round(time.Second), free.UTC().Format(time.RFC3339))
}

// Refused counts one refused login.
func (b *Budget) Refused(device string, c fleet.Credentials) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(device)
	a.refused = append(a.refused, refusal{with: c, at: a.touched})
	if over := len(a.refused) - maxBudgetVersions*triesPerVersion; over > 0 {
		a.refused = append(a.refused[:0], a.refused[over:]...)
	}
}

// Accepted forgets all refusals of the device and remembers that c works on it.
func (b *Budget) Accepted(device string, c fleet.Credentials) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(device)
	a.refused, a.proven, a.worked = nil, c, true
}

// Proven returns the credentials that last worked on the device.
func (b *Budget) Proven(device string) (fleet.Credentials, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, ok := b.devices[device]; ok && a.worked {
		return a.proven, true
	}
	return fleet.Credentials{}, false
}

// Enter waits for the turn to try c on the device, then answers as Try does.
// Credentials that have not worked there yet are tried one request at a time,
// or several requests at once would each see a budget that has room for one.
// Leave ends the turn, after Refused or Accepted; it is never nil.
func (b *Budget) Enter(ctx context.Context, device string, c fleet.Credentials) (leave func(), err error) {
	b.mu.Lock()
	a := b.account(device)
	// Proven credentials without a refusal since need no turn: they cost nothing.
	if a.worked && a.proven == c && len(a.refused) == 0 {
		b.mu.Unlock()
		return func() {}, nil
	}
	busy := a.busy
	b.mu.Unlock()

	select {
	case busy <- struct{}{}:
	case <-ctx.Done():
		return func() {}, CameraError(ctx.Err(), "wait for another login at "+device)
	}
	leave = sync.OnceFunc(func() { <-busy })
	if err := b.Try(device, c); err != nil {
		leave()
		return func() {}, err
	}
	return leave, nil
}

// Refusals returns how many logins the device refused since it last accepted one.
func (b *Budget) Refusals(device string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, ok := b.devices[device]; ok {
		return len(a.refused)
	}
	return 0
}

// account returns the device's, making it and room for it. The lock is held.
func (b *Budget) account(device string) *account {
	now := b.now()
	a, ok := b.devices[device]
	if !ok {
		if len(b.devices) >= maxBudgetDevices {
			b.forget()
		}
		a = &account{busy: make(chan struct{}, 1)} // one turn at a time
		b.devices[device] = a
	}
	a.touched = now
	return a
}

// forget drops the device that was quiet longest.
func (b *Budget) forget() {
	var oldest string
	var at time.Time
	for d, a := range b.devices {
		if len(a.busy) == 0 && (at.IsZero() || a.touched.Before(at)) {
			oldest, at = d, a.touched
		}
	}
	delete(b.devices, oldest)
}
