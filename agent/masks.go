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
	if err := b.may(c); err != nil {
		return fleet.Reading{}, nil, err
	}
	r, err := b.reader.Read(ctx, f)
	if err == nil {
		err = b.may(c) // it may have got a mask meanwhile
	}
	if err != nil {
		return fleet.Reading{}, nil, err
	}
	return r, nil, nil
}

// may says whether a camera may be looked at by who hides nothing.
func (b blind) may(c fleet.CameraID) error {
	m, err := b.masks(c)
	if err == nil && !m.Empty() {
		err = fleet.Errorf(fleet.CauseMask, "the camera has a privacy mask, and this agent was built to hide nothing")
	}
	return err
}
