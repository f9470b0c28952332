package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// readerFunc is a runner.Reader.
type readerFunc func() fleet.Reading

func (f readerFunc) Read(context.Context, fleet.Frame) (fleet.Reading, error) { return f(), nil }

// TestBlindLooksAtNoMaskedCamera: who hides nothing tells nothing of a camera
// that has a mask, gets one while it is read, or whose mask nobody knows.
func TestBlindLooksAtNoMaskedCamera(t *testing.T) {
	half := &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.5, Height: 1}}}
	missing := fleet.Errorf(fleet.CauseMask, "it has not come")
	for name, c := range map[string]struct {
		before, then *fleet.Mask
		missing      error
		read, told   bool
	}{
		"no mask":             {read: true, told: true},
		"a mask":              {before: half, then: half},
		"a mask meanwhile":    {then: half, read: true},
		"a mask that is lost": {missing: missing},
	} {
		mask, read := c.before, false
		b := blind{readerFunc(func() fleet.Reading {
			mask, read = c.then, true
			return fleet.Reading{Width: 9}
		}), func(fleet.CameraID) (*fleet.Mask, error) { return mask, c.missing }}
		res, _, err := b.Judge(t.Context(), 1, fleet.Frame{})
		ce, ok := errors.AsType[*fleet.CameraError](err)
		if read != c.read || (err == nil) != c.told || (res.Width == 9) != c.told || !c.told && (!ok || ce.Cause != fleet.CauseMask) {
			t.Errorf("%s: read %v, %+v, %v", name, read, res, err)
		}
	}
}
