//go:build !amd64 && !arm64

package phash

import "github.com/shutterfleet/shutterfleet/capture/codec"

// kernel is the vector path, of which this processor has none, whatever the level.
type kernel struct{ level codec.Level }

func (*kernel) prepare(*axis) {}

func (*kernel) fits(int) bool { return false }

func (*kernel) reduce(*[small][lanes]int32, codec.Plane, int) int { return 0 }
