package fleet

import "time"

// The login budget, as the promise Gentle states it. Cheap cameras lock an
// account after about five wrong logins; three leave the owner two.
const (
	LoginTriesPerVersion = 2
	LoginTriesPerDevice  = 3
	LoginWindow          = 30 * time.Minute
)

// LoginAnswer is how a login ended.
type LoginAnswer uint8

// The answers. Their numbers are part of the wire format.
const (
	LoginUnused   LoginAnswer = 0 // it was not tried, or nothing came back that tells
	LoginAccepted LoginAnswer = 1
	LoginRefused  LoginAnswer = 2
)

// LoginRefusal is one login that a device refused, or may have. With tells
// credentials apart.
type LoginRefusal[K comparable] struct {
	With K
	At   time.Time
}

// LoginVerdict says whether a login may be tried. Exactly one of its fields is
// set, or none when it may.
type LoginVerdict struct {
	Final bool      // the credentials used up their tries: only a change of them helps
	Free  time.Time // when it may be tried again
}

// OK reports whether the login may be tried.
func (v LoginVerdict) OK() bool { return !v.Final && v.Free.IsZero() }

// JudgeLogin decides on a login from the device's refusals since it last let
// anybody in, oldest first. Two refusals are all that credentials get; those
// that have worked on the device get them again after LoginWindow, because
// cameras also refuse when they are merely out of connections. A device has
// three in any LoginWindow. A refusal from further in the future than that was
// dated by a clock that was wrong, and counts as old.
func JudgeLogin[K comparable](refused []LoginRefusal[K], with K, worked bool, now time.Time) LoginVerdict {
	recent, mine := 0, 0
	var device, version time.Time // the oldest refusal that has to age
	for i := len(refused) - 1; i >= 0; i-- {
		r := &refused[i]
		young := now.Sub(r.At).Abs() < LoginWindow
		if young {
			if recent++; recent == LoginTriesPerDevice {
				device = r.At
			}
		}
		if r.With == with && (young || !worked) {
			if mine++; mine == LoginTriesPerVersion {
				version = r.At
			}
		}
	}
	switch {
	case mine >= LoginTriesPerVersion && !worked:
		return LoginVerdict{Final: true}
	case mine >= LoginTriesPerVersion:
		return LoginVerdict{Free: version.Add(LoginWindow)}
	case recent >= LoginTriesPerDevice:
		return LoginVerdict{Free: device.Add(LoginWindow)}
	}
	return LoginVerdict{}
}
