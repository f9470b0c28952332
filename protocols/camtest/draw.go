package camtest

import (
	"fmt"
	"image"
	"time"
)

// Draw returns one picture of a scene, without a camera and its overlay: for
// benches and tests that want frames with known content. The same arguments
// give the same picture.
func Draw(s Scene, seed uint64, width, height int, at time.Time) (*image.RGBA, error) {
	v, ok := newView(s, seed, width, height)
	if !ok {
		return nil, fmt.Errorf("camtest: nothing draws the scene %q", s)
	}
	return v.draw(at).img, nil
}

// A View draws one scene again and again. It keeps what does not move, so that
// the next picture costs a few milliseconds. It serves one caller at a time.
type View struct{ v *view }

// NewView returns a View of a scene that is width by height pixels large.
func NewView(s Scene, seed uint64, width, height int) (*View, error) {
	v, ok := newView(s, seed, width, height)
	if !ok {
		return nil, fmt.Errorf("camtest: nothing draws the scene %q", s)
	}
	return &View{v}, nil
}

// Draw returns the scene at a moment, as the function Draw does. The picture is
// the View's own until its next.
func (v *View) Draw(at time.Time) *image.RGBA { return v.v.draw(at).img }
