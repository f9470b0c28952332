package h264

import (
	"bytes"

	"github.com/shutterfleet/shutterfleet/capture/codec/rbsp"
)

// The nal_unit_type values of Table 7-1 that have a meaning here.
const (
	nalSlice     = 1
	nalPartition = 2 // to 4: the data partitions of the Extended profile
	nalIDR       = 5
	nalSEI       = 6
	nalSPS       = 7
	nalPPS       = 8
	nalAUD       = 9
)

// nextNAL returns the first NAL unit of an Annex B byte stream and what is
// behind it. It returns nil when there is none.
func nextNAL(stream []byte) (nal, rest []byte) {
	for {
		i := bytes.Index(stream, []byte{0, 0, 1})
		if i < 0 {
			return nil, nil
		}
		stream = stream[i+3:]
		end := bytes.Index(stream, []byte{0, 0, 1})
		if end < 0 {
			end = len(stream)
		}
		nal, stream = stream[:end], stream[end:]
		for len(nal) > 0 && nal[len(nal)-1] == 0 { // trailing_zero_8bits, and the long start code's first byte
			nal = nal[:len(nal)-1]
		}
		if len(nal) > 0 {
			return nal, stream
		}
	}
}

// bitReader reads the RBSP of a NAL unit.
type bitReader struct{ rbsp.Reader }
