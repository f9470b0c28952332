package agent

import (
	"context"

	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Masks tell what must not be seen of a camera: nil when nothing is to be
// hidden. An error says that nobody knows, and that the camera is not to be
// looked at; Store.Mask is one.
type Masks func(fleet.CameraID) (*fleet.Mask, error)

// blind reads frames without Looks. It cannot hide anything, so it does not look
// at cameras that have a mask.
type blind struct {
	reader runner.Reader
	masks  Masks
}

// Judge implements runner.Judge, without a verdict.
func (b blind) Judge(ctx context.Context, c fleet.CameraID, f fleet.Frame) (fleet.Reading, func(), error) {
	m, err := b.masks(c)
	if err == nil && !m.Empty() {
		err = fleet.Errorf(fleet.CauseMask, "the camera has a privacy mask, and this agent was built to hide nothing")
	}
	if err != nil {
		return fleet.Reading{}, nil, err
	}
	r, err := b.reader.Read(ctx, f)
	return r, nil, err
}
