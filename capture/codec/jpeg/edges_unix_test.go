//go:build unix

package jpeg

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// TestEdges: no level of the transform reads beside its block or writes beside its
// samples.
func TestEdges(t *testing.T) {
	blocks, samples := codectest.NewEdges(t, 1<<12), codectest.NewEdges(t, 1<<12)
	size := int(unsafe.Sizeof(block{}))
	for stride := 8; stride < 100; stride += 7 {
		for k, at := range [][]byte{blocks.First(size), blocks.Last(size)} {
			b := (*block)(unsafe.Pointer(&at[0]))
			n := 7*stride + 8
			dst := [][]byte{samples.First(n), samples.Last(n)}[k]
			for _, l := range codec.Levels() {
				for i := range b {
					b[i] = int32(i*i*7919%801-400) / int32(1+i)
				}
				clear(dst)
				want, c := make([]byte, n), *b
				full(&c, want, stride)
				if put(l, b, 63, 8, dst, stride); !slices.Equal(dst, want) {
					t.Fatalf("%v at stride %d: %d, want %d", l, stride, dst, want)
				}
			}
		}
	}
}
