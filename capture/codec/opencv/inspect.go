package opencv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"image/color"
	"image/png"
	"math/bits"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxMemory bounds what decoding a still takes, in bytes of samples and of
// coefficients. The claimed size alone decides on it: an arithmetic scan or a
// deflated row may be as short as it likes. A progressive 4K picture of three
// components takes 83 MB.
const maxMemory = 96 << 20

// header is what is known of a still before OpenCV sees it.
type header struct {
	width, height int
	gray          bool // OpenCV's gray picture is what the data holds, or the best there is
	scales        bool // OpenCV decodes it at 1/2, 1/4 and 1/8 too
}

// inspect reads the header of a still, and all that says how much its decoding
// takes. Errors are *fleet.CameraError: corrupt, too-large, unsupported-codec.
func inspect(data []byte, l codec.Limits) (h header, err error) {
	l = l.WithDefaults()
	if err := l.CheckBytes(len(data)); err != nil {
		return h, err
	}
	var memory int // in bytes per pixel
	switch {
	case bytes.HasPrefix(data, []byte{0xFF, mSOI}):
		h, memory, err = inspectJPEG(data, l)
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		h, memory, err = inspectPNG(data)
	case bytes.HasPrefix(data, []byte("BM")):
		h, memory, err = inspectBMP(data)
	case bytes.HasPrefix(data, []byte("II*\x00")), bytes.HasPrefix(data, []byte("MM\x00*")):
		h, memory, err = inspectTIFF(data)
	default:
		return h, codec.Unsupported("no still that OpenCV is given: want JPEG, PNG, BMP or TIFF")
	}
	if err != nil {
		return h, err
	}
	if err := l.CheckSize(h.width, h.height); err != nil {
		return h, err
	}
	// CheckSize keeps the product far from overflowing.
	if h.width*h.height > maxMemory/memory {
		return h, fleet.Errorf(fleet.CauseTooLarge, "a still of %dx%d would take %d MB to decode: at most %d are given", h.width, h.height, h.width*h.height*memory>>20, maxMemory>>20)
	}
	return h, nil
}

// The markers of T.81, Table B.1, that have a meaning here.
const (
	mSOF0, mSOF15    = 0xC0, 0xCF
	mDHT, mJPG, mDAC = 0xC4, 0xC8, 0xCC
	mRST0, mRST7     = 0xD0, 0xD7
	mSOI, mEOI, mSOS = 0xD8, 0xD9, 0xDA
	mTEM             = 0x01
)

// jpegKinds are the frames of T.81, Table B.1, that libjpeg decodes, and whether
// coefficients are kept from one scan to the next.
func jpegKinds(marker byte) (progressive, ok bool) {
	switch marker - mSOF0 {
	case 0, 1, 9: // baseline, extended, extended with arithmetic coding
		return false, true
	case 2, 10:
		return true, true
	}
	return false, false
}

// inspectJPEG walks over all segments and scans, to the end of the image: a
// picture that is cut off is libjpeg's to make up, and ours to refuse.
func inspectJPEG(data []byte, l codec.Limits) (h header, memory int, err error) {
	components, progressive, scans := 0, false, 0
	for pos := 2; ; {
		if pos = marker(data, pos, scans > 0); pos < 0 {
			return h, 0, codec.Corrupt("the JPEG is cut off")
		}
		m := data[pos-1]
		if m == mEOI {
			break
		}
		if m == mTEM || m >= mRST0 && m <= mRST7 {
			continue
		}
		if m == mSOI || len(data)-pos < 2 {
			return h, 0, codec.Corrupt("the JPEG is cut off")
		}
		n := int(binary.BigEndian.Uint16(data[pos:]))
		if n < 2 || n > len(data)-pos {
			return h, 0, codec.Corrupt("a JPEG segment of %d bytes does not fit the rest", n)
		}
		segment := data[pos+2 : pos+n]
		pos += n
		switch {
		case m == mSOS:
			if components == 0 {
				return h, 0, codec.Corrupt("a JPEG scan comes before the frame header")
			}
			if scans++; scans > l.Scans {
				return h, 0, fleet.Errorf(fleet.CauseTooLarge, "the JPEG has more than %d scans", l.Scans)
			}
		case m >= mSOF0 && m <= mSOF15 && m != mDHT && m != mJPG && m != mDAC:
			if components > 0 {
				return h, 0, codec.Corrupt("the JPEG has two frame headers")
			}
			var ok bool
			if progressive, ok = jpegKinds(m); !ok {
				return h, 0, codec.Unsupported("OpenCV reads no JPEG of the kind SOF%d", m-mSOF0)
			}
			if h, components, err = frameHeader(segment); err != nil {
				return h, 0, err
			}
		}
	}
	if scans == 0 {
		return h, 0, codec.Corrupt("the JPEG has no scan")
	}
	memory = components + 1 // and OpenCV's own copy
	if progressive || scans > 1 {
		memory += 2 * components // coefficients of 16 bits
	}
	return h, memory, nil
}

// marker returns where the next marker ends, or -1. Between segments only fill
// bytes may stand before it; a scan's data is skipped.
func marker(data []byte, pos int, scan bool) int {
	for {
		i := bytes.IndexByte(data[pos:], 0xFF)
		if i < 0 || i > 0 && !scan {
			return -1
		}
		for pos += i; pos < len(data) && data[pos] == 0xFF; pos++ {
		}
		if pos >= len(data) {
			return -1
		}
		if pos++; data[pos-1] != 0 {
			return pos
		}
		if !scan {
			return -1
		}
	}
}

// frameHeader reads what follows a SOF marker: T.81, B.2.2.
func frameHeader(b []byte) (h header, components int, err error) {
	if len(b) < 6 || len(b) < 6+3*int(b[5]) {
		return h, 0, codec.Corrupt("the JPEG frame header is cut off")
	}
	h.height, h.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	components = int(b[5])
	switch {
	case b[0] != 8:
		return h, 0, codec.Unsupported("OpenCV reads no JPEG of %d bits a sample", b[0])
	case h.height == 0:
		return h, 0, codec.Unsupported("a JPEG that tells its height at its end is not read")
	case components != 1 && components != 3 && components != 4:
		return h, 0, codec.Unsupported("OpenCV reads no JPEG of %d components", components)
	}
	h.gray, h.scales = true, true
	return h, components, nil
}

func inspectPNG(data []byte) (h header, memory int, err error) {
	cfg, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return h, 0, codec.Corrupt("read PNG header: %w", err)
	}
	h = header{width: cfg.Width, height: cfg.Height, gray: cfg.ColorModel == color.GrayModel || cfg.ColorModel == color.Gray16Model}
	return h, 4, nil
}

// inspectBMP reads the header of Windows' bitmaps that are not compressed:
// BITMAPFILEHEADER, and BITMAPINFOHEADER or what was added to it.
func inspectBMP(data []byte) (h header, memory int, err error) {
	if len(data) < 54 {
		return h, 0, codec.Corrupt("the BMP header is cut off")
	}
	le := binary.LittleEndian
	offset, size := int64(le.Uint32(data[10:])), le.Uint32(data[14:])
	w, ht := int64(int32(le.Uint32(data[18:]))), int64(int32(le.Uint32(data[22:])))
	depth, compression := int64(le.Uint16(data[28:])), le.Uint32(data[30:])
	if size < 40 || size > 124 {
		return h, 0, codec.Unsupported("OpenCV is given no BMP with a header of %d bytes", size)
	}
	if compression != 0 || depth != 8 && depth != 24 && depth != 32 {
		return h, 0, codec.Unsupported("OpenCV is given no BMP of %d bits with compression %d: want 8, 24 or 32 without", depth, compression)
	}
	ht = max(ht, -ht) // below zero, rows go from the top
	if w <= 0 || ht <= 0 || ht > int64(len(data)) || w > int64(len(data)) || offset+(w*depth+31)/32*4*ht > int64(len(data)) {
		return h, 0, codec.Corrupt("the BMP claims %dx%d pixels of %d bits and is too short for them", w, ht, depth)
	}
	return header{width: int(w), height: int(ht)}, 4, nil
}

// tiffTags are those of TIFF 6.0 that say how much a picture takes.
type tiffTags struct{ width, height, samples, depth, tileWidth, tileHeight uint32 }

// inspectTIFF reads the first directory of a TIFF 6.0 file.
func inspectTIFF(data []byte) (h header, memory int, err error) {
	var order binary.ByteOrder = binary.LittleEndian
	if data[0] == 'M' {
		order = binary.BigEndian
	}
	broken := codec.Corrupt("the TIFF header is broken")
	if len(data) < 8 {
		return h, 0, broken
	}
	at := uint64(order.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return h, 0, broken
	}
	n := uint64(order.Uint16(data[at:]))
	if at+2+12*n > uint64(len(data)) {
		return h, 0, broken
	}
	var t tiffTags
	for i := range n {
		e := data[at+2+12*i:]
		if !t.set(order, order.Uint16(e), order.Uint16(e[2:]), order.Uint32(e[4:]), e[8:12], data) {
			return h, 0, broken
		}
	}
	t.samples = cmp.Or(t.samples, 1)
	if t.depth != 8 || t.samples != 1 && t.samples != 3 && t.samples != 4 {
		return h, 0, codec.Unsupported("OpenCV is given no TIFF of %d samples of %d bits", t.samples, t.depth)
	}
	if bits.Len32(t.width) > 16 || bits.Len32(t.height) > 16 {
		return h, 0, fleet.Errorf(fleet.CauseTooLarge, "the TIFF claims %dx%d pixels", t.width, t.height)
	}
	// A tile is unpacked whole: its sides are multiples of 16.
	if t.tileWidth > (t.width+15)/16*16 || t.tileHeight > (t.height+15)/16*16 {
		return h, 0, codec.Unsupported("OpenCV is given no TIFF with tiles of %dx%d, larger than its picture", t.tileWidth, t.tileHeight)
	}
	return header{width: int(t.width), height: int(t.height)}, 12, nil
}

// set takes one entry of the directory; false when it points nowhere, or comes a
// second time and another reader may take the first.
func (t *tiffTags) set(order binary.ByteOrder, tag, kind uint16, count uint32, value, data []byte) bool {
	var field *uint32
	switch tag {
	case 256:
		field = &t.width
	case 257:
		field = &t.height
	case 258:
		field = &t.depth
	case 277:
		field = &t.samples
	case 322:
		field = &t.tileWidth
	case 323:
		field = &t.tileHeight
	default:
		return true
	}
	switch {
	case *field != 0:
		return false
	case kind == 3 && count > 2: // SHORTs elsewhere: of depths the first, all must be equal
		at := uint64(order.Uint32(value))
		if at+2 > uint64(len(data)) {
			return false
		}
		*field = uint32(order.Uint16(data[at:]))
	case kind == 3 && count > 0:
		*field = uint32(order.Uint16(value))
	case kind == 4 && count == 1:
		*field = order.Uint32(value)
	default:
		return false
	}
	return true
}
