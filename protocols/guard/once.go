package guard

import (
	"errors"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// ErrOnceRefused is a login that worked before and was refused once since:
// cameras also answer 401 when they are out of connections. A second refusal
// would use up the budget, so that nothing more should be tried with it for now.
var ErrOnceRefused = errors.New("the camera refused a login that worked before: it may be out of connections")

// OnceRefused returns ErrOnceRefused with its cause, refused.
func OnceRefused() error { return &fleet.CameraError{Cause: fleet.CauseRefused, Err: ErrOnceRefused} }
