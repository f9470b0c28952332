package codec

import (
	"bytes"
	"math/bits"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// MP4 is a file of video, no frame of a camera: the worker alone takes its first
// picture out, for operators' recordings.
const MP4 fleet.Codec = "mp4"

// BMP and TIFF are files, too. OpenCV alone reads them, in builds that have it.
const (
	BMP  fleet.Codec = "bmp"
	TIFF fleet.Codec = "tiff"
)

// Sniff says what a file's or a stream's first bytes make it. An Annex B stream
// is H.264 or H.265 by the first parameter set that it has: no byte that begins
// one in the first is a parameter set in the second, or the other way round.
func Sniff(data []byte) (c fleet.Codec, ok bool) {
	switch {
	case bytes.HasPrefix(data, []byte{0xFF, 0xD8}):
		return fleet.JPEG, true
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return fleet.PNG, true
	case len(data) > 2 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6' && (pgmSpace(data[2]) || data[2] == '#'):
		return fleet.PGM, true
	case len(data) >= 12 && string(data[4:8]) == "ftyp": // ISO/IEC 14496-12, 4.3
		return MP4, true
	case len(data) >= 18 && string(data[:2]) == "BM" && data[14] <= 124 && data[15]|data[16]|data[17] == 0: // what follows has its size first
		return BMP, true
	case bytes.HasPrefix(data, []byte("II*\x00")), bytes.HasPrefix(data, []byte("MM\x00*")): // TIFF 6.0, section 2
		return TIFF, true
	}
	// Any number of zeros may stand before the first start code: H.264, B.1.1.
	if code := bytes.TrimLeft(data, "\x00"); len(data)-len(code) < 2 || len(code) == 0 || code[0] != 1 {
		return "", false
	}
	for unit := range units(data) {
		switch {
		case isH265Set(unit):
			return fleet.H265, true
		case isH264Set(unit):
			return fleet.H264, true
		}
	}
	return "", false
}

// isH264Set: ITU-T H.264 7.3.1, a sequence parameter set, which others need.
func isH264Set(u []byte) bool { return u[0]&0x80 == 0 && u[0]&0x60 != 0 && u[0]&31 == 7 }

// isH265Set: ITU-T H.265 7.3.1.2, a video or sequence parameter set of layer 0.
func isH265Set(u []byte) bool { return (u[0] == 32<<1 || u[0] == 33<<1) && len(u) > 1 && u[1] == 1 }

// units yields the NAL units of an Annex B stream, without start codes and
// without the zeros that may follow them; empty ones are left out.
func units(data []byte) func(yield func([]byte) bool) {
	start := []byte{0, 0, 1}
	return func(yield func([]byte) bool) {
		i := bytes.Index(data, start)
		for i >= 0 {
			rest := data[i+3:]
			end := bytes.Index(rest, start)
			unit := rest
			if end >= 0 {
				unit = rest[:end]
			}
			if unit = bytes.TrimRight(unit, "\x00"); len(unit) > 0 && !yield(unit) {
				return
			}
			if end < 0 {
				return
			}
			i += 3 + end
		}
	}
}

// KeyFrame returns the first key picture of an Annex B stream with all parameter
// sets before it, as a stream of its own: what a decoder of single frames wants.
// It is no-keyframe when there is none, and corrupt when its parameter sets come
// too late.
//
// A key picture is an IDR picture of H.264, and any intra random access picture
// of H.265. An H.264 stream without gives its first picture that consists of I
// slices, with the SEI in front of it: streams that were tuned into, of encoders
// whose groups of pictures are open, have recovery points instead (D.2.8).
// Streams that refresh bit by bit have neither: no single picture of theirs can
// be decoded alone.
func KeyFrame(c fleet.Codec, data []byte) ([]byte, error) {
	if c != fleet.H264 && c != fleet.H265 {
		return nil, Unsupported("%q frames have no key pictures", c)
	}
	out, sets, ok := keyPicture(c, data)
	if !ok && c == fleet.H264 {
		if open, n, found := intraPicture(data); found {
			out, sets, ok = open, n, true
		}
	}
	switch {
	case !ok:
		return nil, fleet.Errorf(fleet.CauseNoKeyframe, "the stream has no key frame: record it for longer than one group of pictures")
	case sets < 2:
		return nil, Corrupt("the stream's parameter sets are missing before its first key frame: record it from its start")
	}
	return out, nil
}

// keyPicture is KeyFrame for pictures that are called so. sets is how many
// parameter sets came with it.
func keyPicture(c fleet.Codec, data []byte) (out []byte, sets int, ok bool) {
	slices := 0
	for u := range units(data) {
		k := kindOf(c, u)
		if k == filler {
			continue // may stand between the slices of a picture
		}
		if slices > 0 && (k != keySlice || startsPicture(c, u)) {
			break
		}
		switch k {
		case other:
			continue
		case parameterSet:
			sets++
		case keySlice:
			slices++
		}
		out = appendUnit(out, u)
	}
	return out, sets, slices > 0
}

// intraPicture finds the first picture of I slices in an H.264 stream that has
// no IDR picture, once parameter sets have come.
func intraPicture(data []byte) (out []byte, sets int, ok bool) {
	var messages []byte // SEI in front of the picture at hand
	slices, begin := 0, 0
	for u := range units(data) {
		k, t := kindOf(fleet.H264, u), u[0]&31
		if k == filler {
			continue
		}
		slice := k == other && t == 1 && u[0]&0x80 == 0
		if slices > 0 && (!slice || startsPicture(fleet.H264, u)) {
			break
		}
		switch {
		case k == parameterSet:
			out = appendUnit(out, u)
			sets++
		case k == other && t == 6 && u[0]&0x80 == 0:
			messages = appendUnit(messages, u)
		case !slice:
		case isISlice(u) && (slices > 0 || sets >= 2 && startsPicture(fleet.H264, u)):
			if slices == 0 {
				begin = len(out)
				out = append(out, messages...)
			}
			out = appendUnit(out, u)
			slices++
		default: // a picture that is not all I
			if slices > 0 {
				out, slices = out[:begin], 0
			}
			messages = messages[:0]
		}
	}
	return out, sets, slices > 0
}

func appendUnit(out, u []byte) []byte { return append(append(out, 0, 0, 0, 1), u...) }

// isISlice reads slice_type behind first_mb_in_slice (H.264, 7.3.3): two short
// numbers, in which no emulation prevention stands below macroblock 65,535.
func isISlice(u []byte) bool {
	var w, kind uint64
	for i := 1; i <= 8; i++ {
		w <<= 8
		if i < len(u) {
			w |= uint64(u[i])
		}
	}
	for range 2 {
		z := bits.LeadingZeros64(w)
		if z > 15 {
			return false
		}
		kind = w<<z>>(63-z) - 1
		w <<= 2*z + 1
	}
	return kind == 2 || kind == 7
}

type unitKind uint8

const (
	other unitKind = iota
	parameterSet
	keySlice
	filler
)

// kindOf sorts a NAL unit by Table 7-1 of either standard.
func kindOf(c fleet.Codec, u []byte) unitKind {
	t := int(u[0] & 31)
	set, key := t == 7 || t == 8, t == 5
	fill := t == 12 || t == 14 || t == 20 // a prefix, and a slice of another layer or view, stand beside each slice
	if c == fleet.H265 {
		if len(u) < 3 || u[0]&1 != 0 || u[1]>>3 != 0 {
			return other // of another layer
		}
		t = int(u[0] >> 1 & 63)
		set, key = t >= 32 && t <= 34, t >= 16 && t <= 21
		fill = t == 38 || t == 40 || t >= 45 && t <= 47 || t >= 56 // a suffix SEI and the like begin no picture: 7.4.2.4.4
	}
	switch {
	case u[0]&0x80 != 0:
		return other // what must be zero is not
	case set:
		return parameterSet
	case key:
		return keySlice
	case fill:
		return filler
	}
	return other
}

// startsPicture says whether a slice is the first of its picture: its first
// bit is the whole code of first_mb_in_slice 0, or the flag of that meaning.
func startsPicture(c fleet.Codec, u []byte) bool {
	head := 1
	if c == fleet.H265 {
		head = 2
	}
	return len(u) > head && u[head]&0x80 != 0
}
