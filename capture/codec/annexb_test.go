package codec_test

import (
	"bytes"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// stream joins NAL units with start codes of four bytes.
func stream(units ...string) []byte {
	var b []byte
	for _, u := range units {
		b = append(append(b, 0, 0, 0, 1), u...)
	}
	return b
}

// Units by Table 7-1 of H.264 and of H.265. The first bit of a slice's payload
// says that it is the first of its picture.
const (
	aud264, sps264, pps264, sei264, fill264  = "\x09\xf0", "\x67\x64\x00\x28\xac", "\x68\xee\x3c\x80", "\x06\x05\x80", "\x0c\xff\x80"
	first264, second264, p264                = "\x65\x88\x84", "\x65\x40\x84", "\x41\x9a\x02"
	i264, i264Second, p264Second             = "\x41\x88\x84", "\x41\x42\x20", "\x41\x58\x20"
	aud265, vps265, sps265, pps265           = "\x46\x01\x50", "\x40\x01\x0c", "\x42\x01\x01", "\x44\x01\xc0"
	first265, second265, trail265, layer1265 = "\x26\x01\xaf", "\x26\x01\x2f", "\x02\x01\xd0", "\x26\x09\xaf"
)

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want fleet.Codec
	}{
		{"JPEG", []byte{0xFF, 0xD8, 0xFF}, fleet.JPEG},
		{"PNG", []byte("\x89PNG\r\n\x1a\n"), fleet.PNG},
		{"PGM", []byte("P5\n1 1 255\n"), fleet.PGM},
		{"PGM in text, which its decoder refuses by name", []byte("P2 1 1 255\n0"), fleet.PGM},
		{"a word", []byte("P5x"), ""},
		{"MP4", []byte("\x00\x00\x00\x18ftypisom\x00\x00"), codec.MP4},
		{"BMP", []byte("BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00"), codec.BMP},
		{"a word that begins like one", []byte("BMW 320i, silver, at the gate"), ""},
		{"TIFF", []byte("II*\x00\x08\x00\x00\x00"), codec.TIFF},
		{"TIFF, the other way round", []byte("MM\x00*\x00\x00\x00\x08"), codec.TIFF},
		{"H.264", stream(aud264, sps264, pps264, first264), fleet.H264},
		{"H.264 with short start codes", append([]byte{0, 0, 1}, sps264...), fleet.H264},
		{"H.264 that begins in the middle", stream(p264, p264, sps264), fleet.H264},
		{"H.265", stream(aud265, vps265, sps265, pps265, first265), fleet.H265},
		{"H.265 without VPS", stream(sps265, pps265, first265), fleet.H265},
		{"H.264 behind zeros", append([]byte{0, 0, 0, 0, 0}, stream(sps264, pps264, first264)...), fleet.H264},
		{"H.265 behind zeros", append([]byte{0, 0}, stream(vps265, sps265, pps265, first265)...), fleet.H265},
		{"zeros alone", make([]byte, 100), ""},
		{"a zero and a one", append([]byte{0, 1}, stream(sps264, pps264)...), ""},
		{"slices alone", stream(p264, p264), ""},
		{"empty", nil, ""},
		{"start codes alone", []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 1}, ""},
		{"text", []byte("<html>"), ""},
	} {
		if got, ok := codec.Sniff(c.data); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.name, got, ok, c.want)
		}
	}
}

func TestKeyFrame(t *testing.T) {
	for _, c := range []struct {
		name  string
		codec fleet.Codec
		data  []byte
		want  []byte // nil: an error
		cause fleet.Cause
	}{
		{"one picture", fleet.H264, stream(aud264, sps264, pps264, sei264, first264), stream(sps264, pps264, first264), ""},
		{"two slices, then another picture", fleet.H264, stream(sps264, pps264, first264, second264, p264, first264), stream(sps264, pps264, first264, second264), ""},
		{"two key pictures in a row", fleet.H264, stream(sps264, pps264, first264, first264), stream(sps264, pps264, first264), ""},
		{"filler between slices", fleet.H264, stream(sps264, pps264, first264, fill264, second264), stream(sps264, pps264, first264, second264), ""},
		{"prefixes and slices of another view", fleet.H264, stream(sps264, pps264, "\x6e\x40\x80\x07", first264, "\x74\x40\x80\x07\x88", "\x6e\x40\x80\x07", second264, "\x74\x40\x80\x07\x88", p264),
			stream(sps264, pps264, first264, second264), ""},
		{"pictures before", fleet.H264, stream(sps264, pps264, p264, p264, aud264, first264), stream(sps264, pps264, first264), ""},
		{"zeros behind a unit", fleet.H264, append(stream(sps264, pps264, first264), 0, 0, 0), stream(sps264, pps264, first264), ""},
		{"parameter sets behind", fleet.H264, stream(sps264, pps264, first264, sps264, pps264), stream(sps264, pps264, first264), ""},
		{"a recovery point", fleet.H264, stream(p264, sps264, pps264, p264, aud264, sei264, i264, i264Second, aud264, p264), stream(sps264, pps264, sei264, i264, i264Second), ""},
		{"an I picture, and then a key picture", fleet.H264, stream(sps264, pps264, i264, first264), stream(sps264, pps264, first264), ""},
		{"a picture that is half of I slices", fleet.H264, stream(sps264, pps264, sei264, i264, p264Second, i264Second, p264, i264Second, sei264, i264, i264), stream(sps264, pps264, sei264, i264), ""},
		{"an I picture before its parameter sets", fleet.H264, stream(i264, sps264, i264, pps264, p264, i264), stream(sps264, pps264, i264), ""},
		{"the lower half of an I picture", fleet.H264, stream(sps264, pps264, i264Second, p264), nil, fleet.CauseNoKeyframe},
		{"no key picture", fleet.H264, stream(sps264, pps264, p264), nil, fleet.CauseNoKeyframe},
		{"one parameter set of two", fleet.H264, stream(sps264, first264), nil, fleet.CauseCorrupt},
		{"no parameter sets", fleet.H264, stream(first264, sps264, pps264), nil, fleet.CauseCorrupt},
		{"nothing", fleet.H264, nil, nil, fleet.CauseNoKeyframe},
		{"H.265", fleet.H265, stream(aud265, vps265, sps265, pps265, first265, second265, trail265), stream(vps265, sps265, pps265, first265, second265), ""},
		{"H.265 with messages and filler between slices", fleet.H265, stream(vps265, sps265, pps265, first265, "\x50\x01\x84\x80", "\x4c\x01\x80", "\x5a\x01\x80", "\x70\x01\x80", second265, trail265),
			stream(vps265, sps265, pps265, first265, second265), ""},
		{"H.265 slices behind the end of a sequence", fleet.H265, stream(vps265, sps265, pps265, first265, "\x4a\x01\x80", second265), stream(vps265, sps265, pps265, first265), ""},
		{"H.265 with a second layer", fleet.H265, stream(vps265, sps265, pps265, layer1265, first265), stream(vps265, sps265, pps265, first265), ""},
	} {
		got, err := codec.KeyFrame(c.codec, c.data)
		if c.want == nil && cause(err) != c.cause || c.want != nil && (err != nil || !bytes.Equal(got, c.want)) {
			t.Errorf("%s: %x, %v, want %x", c.name, got, err, c.want)
		}
	}
	if _, err := codec.KeyFrame(fleet.JPEG, stream(first264)); cause(err) != fleet.CauseUnsupportedCodec {
		t.Errorf("a JPEG: %v", err)
	}
}

// FuzzKeyFrame: a key frame is one to itself, and is what it was taken from.
func FuzzKeyFrame(f *testing.F) {
	f.Add(stream(aud264, sps264, pps264, first264, second264, p264))
	f.Add(stream(sps264, pps264, sei264, i264, i264Second, p264))
	f.Add(stream(aud265, vps265, sps265, pps265, first265, trail265))
	f.Fuzz(func(t *testing.T, data []byte) {
		codec.Sniff(data)
		for _, c := range []fleet.Codec{fleet.H264, fleet.H265} {
			got, err := codec.KeyFrame(c, data)
			if err != nil {
				if cause(err) == "" {
					t.Fatalf("an error without a cause: %v", err)
				}
				continue
			}
			again, err := codec.KeyFrame(c, got)
			if err != nil || !bytes.Equal(again, got) {
				t.Fatalf("again it is %x, %v, not %x", again, err, got)
			}
		}
	})
}
