//go:build !amd64 && !arm64

package quality

import "github.com/shutterfleet/shutterfleet/capture/codec"

// kernel is the vector path, of which this processor has none.
type kernel struct{}

func (*kernel) prepare(codec.Plane, codec.Level) bool { return false }

func (*kernel) rows(codec.Plane, int, []uint16, *sums) {}

func (*kernel) flush(*sums) {}
