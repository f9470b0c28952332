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
