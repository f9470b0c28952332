//go:build !amd64

package jpeg

import "github.com/shutterfleet/shutterfleet/capture/codec"

// fullVector is full by vectors, of which there are none here, whatever the level.
func fullVector(codec.Level, *block, []byte, int) bool { return false }
