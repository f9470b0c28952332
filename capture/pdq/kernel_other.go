//go:build !amd64 && !arm64

package pdq

import "github.com/shutterfleet/shutterfleet/capture/codec"

// kernel is the vector path, of which this processor has none: its methods
// leave all work to their callers.
type kernel struct{}

func (kernel) columns([]uint32, codec.Plane, int, []uint32) int { return 0 }

func (kernel) exact([]float64, []byte, float64) int { return 0 }

func (kernel) across(*[codec.GridSize]uint32, []uint32, *filter) bool { return false }

func (kernel) multiply(_, _, _ []float64, _ int) bool { return false }

func (kernel) gradients(*codec.Grid) (int, bool) { return 0, false }

func newKernel(codec.Level) kernel { return kernel{} }
