package camtest

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
)

// The H.264 clips are drawn by this package's own scenes and coded by x264:
// 6 seconds at 4 frames a second, a key frame each second, 640x360 (so that
// the coded height, 368, is cropped), no B frames. `go generate` makes them
// anew; it needs ffmpeg, which nothing else here does.
//
//go:generate go test -run=TestClips -update

//go:embed testdata/clip/*.h264
var clipFiles embed.FS

const (
	clipWidth, clipHeight = 640, 360
	clipGOP               = 4
	clipFrames            = 24
)

// clipScenes are the scenes that can be streamed as H.264, each with the seed
// of the default town's camera that looks at it.
var clipScenes = map[Scene]string{StreetDay: "street-east", StreetNight: "street-night", Parking: "parking", Gate: "gate-north"}

// clip is a scene as access units, each a list of NAL units.
type clip struct {
	sps, pps []byte
	units    [][][]byte
}

func clipFile(s Scene) string { return "testdata/clip/" + string(s) + ".h264" }

func openClip(s Scene) (*clip, error) {
	b, err := clipFiles.ReadFile(clipFile(s))
	if err != nil {
		return nil, fmt.Errorf("no H.264 clip of the scene %s: %w", s, err)
	}
	k, err := parseClip(b)
	if err != nil {
		return nil, fmt.Errorf("clip of %s: %w", s, err)
	}
	return k, nil
}

const (
	nalSlice = 1
	nalIDR   = 5
	nalSEI   = 6
	nalSPS   = 7
	nalPPS   = 8
)

// parseClip cuts an Annex B stream with one slice per picture into access
// units; key frames carry the parameter sets.
func parseClip(b []byte) (*clip, error) {
	var k clip
	for part := range bytes.SplitSeq(b, []byte{0, 0, 1}) {
		nal := bytes.TrimRight(part, "\x00")
		if len(nal) == 0 {
			continue
		}
		switch nal[0] & 0x1f {
		case nalSPS:
			k.sps = nal
		case nalPPS:
			k.pps = nal
		case nalIDR:
			k.units = append(k.units, [][]byte{k.sps, k.pps, nal})
		case nalSlice:
			k.units = append(k.units, [][]byte{nal})
		}
	}
	if k.sps == nil || k.pps == nil || len(k.units) == 0 || !k.key(0) {
		return nil, errors.New("no H.264 stream that begins with a key frame")
	}
	return &k, nil
}

func (k *clip) key(i int) bool {
	u := k.units[i]
	return u[len(u)-1][0]&0x1f == nalIDR
}

// nextKey returns the first key frame at i or after it, around the end.
func (k *clip) nextKey(i int) int {
	for !k.key(i) {
		i = (i + 1) % len(k.units)
	}
	return i
}
