package h264

import (
	"errors"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// A Tool is a part of H.264 that is not decoded here. As an error it says which
// one a stream uses, so that callers may hand the stream to another decoder:
//
//	if tool, ok := errors.AsType[h264.Tool](err); ok { … }
type Tool string

// The tools that are recognised and refused.
const (
	FieldPictures  Tool = "interlaced field pictures"
	MBAFF          Tool = "interlaced pictures (MBAFF)"
	Chroma422      Tool = "4:2:2 chroma (High 4:2:2)"
	Chroma444      Tool = "4:4:4 chroma (High 4:4:4)"
	HighBitDepth   Tool = "more than 8 bits a sample (High 10)"
	Lossless       Tool = "lossless transform bypass (High 4:4:4)"
	SliceGroups    Tool = "slice groups (FMO)"
	DataPartitions Tool = "data partitions (Extended profile)"
	SwitchingSlice Tool = "switching slices (Extended profile)"
)

func (t Tool) Error() string { return string(t) }

// ErrNotIntra is the error for a stream none of whose pictures consists of I
// slices alone.
var ErrNotIntra = errors.New("not an intra picture: the H.264 stream has no key frame")

// refuse is the error for a sound stream that uses t.
func refuse(t Tool) error {
	return codec.Unsupported("the H.264 stream uses %w, which is decoded by FFmpeg only: install ffmpeg, or set the camera to progressive 8 bit 4:2:0", t)
}
