// Package jpeg decodes the luma plane of JPEG stills, and as little else as it
// can: cameras send them by the million, and decoding is most of what a frame
// costs.
//
//	markers ──► entropy walk ──┬─ baseline:    block ──IDCT──► plane
//	                           └─ progressive: coefficients ──at the end──► plane
//
// Baseline, extended and progressive Huffman pictures of 8 bits are read, with
// one component or three. Chroma is walked over, and decoded only on request.
// Samples are those of libjpeg's accurate integer transform. Reduced scales
// take only the frequencies they need.
//
// An Encoder codes the small pictures that are made of them.
package jpeg

import (
	"cmp"
	"context"
	"encoding/binary"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options say how far to decode.
type Options struct {
	Limits codec.Limits
	Scale  int // 1, 2, 4 or 8: luma comes out so many times smaller, rounded up; default 1

	// Width, if above 0, asks for the smallest scale that leaves luma at least
	// so many samples wide, or for full size. It takes the place of Scale.
	Width int

	// Detail, if not nil, is set to the energy of luma's frequencies, which takes
	// walking all of them at whatever scale.
	Detail *Detail

	// Chroma asks for the color planes, at the smallest scale that leaves them
	// at least so many samples wide, or at their own size. 0 asks for none.
	Chroma int

	// Partial takes a baseline picture of which half or more came and decodes:
	// what is missing, behind a cut or in the restart intervals that are damaged,
	// is mid gray, and Picture.Missing says how much. A picture whose end marker
	// alone is missing is whole: some cameras send none.
	Partial bool
}

// A Decoder holds the memory that decoding takes, so that a stream of similar
// frames allocates next to nothing. The zero Decoder is ready. It serves one
// caller at a time.
type Decoder struct {
	opts   Options
	level  codec.Level // of the transform; 0 until the first picture
	r      reader
	quant  [4][64]uint16 // in zigzag order
	hasQ   [4]bool
	tables [2][4]*table // DC, AC: what the next scan uses; nil is unknown
	own    [2][4]*table // those that the frame brought
	std    [4]*table

	width, height int
	frame         bool // a frame header was seen
	progressive   bool
	rgb           bool
	jfif          bool
	adobe         int // its transform, -1 when there is no such segment
	hmax, vmax    int
	mcusX, mcusY  int
	restart       int
	scans         int
	comps         [3]component
	used          []component // of comps
	eobRun        int
	missing       float32 // share of the scan
	detail        Detail
}

type component struct {
	id, h, v, tq   int
	blocksX        int // that hold picture, as a scan of this component alone has them
	blocksY        int
	paddedX        int // a row of whole MCUs
	paddedY        int
	wanted         bool
	side           int // samples that a block comes out as: 8, 4, 2 or 1
	depth          depth
	plane          *codec.Plane
	quant          [64]int32
	latched        bool
	seen           bool // a scan brought its lowest coefficients
	per            int  // coefficients kept of each block, the first in coding order
	coefs          []int16
	set            []uint64 // of each block: a bit for each coefficient that is not zero
	dc             int32
	dcTable, acTab *table
}

// Decode reads one picture into pic, using its memory again. What fails is a
// *fleet.CameraError: corrupt for data that is broken or cut off, too-large for
// a picture beyond the limits, unsupported-codec for a kind of JPEG that is not
// read here. Nothing in proportion to the claimed size is allocated before the
// data is known to be long enough to hold such a picture.
func (d *Decoder) Decode(ctx context.Context, data []byte, o Options, pic *codec.Picture) error {
	o.Limits = o.Limits.WithDefaults()
	o.Scale = cmp.Or(o.Scale, 1)
	if o.Scale != 1 && o.Scale != 2 && o.Scale != 4 && o.Scale != 8 {
		return fleet.Errorf(fleet.CauseInternal, "jpeg: scale 1/%d", o.Scale)
	}
	if err := o.Limits.CheckBytes(len(data)); err != nil {
		return err
	}
	if err := d.reset(data, o); err != nil {
		return err
	}
	defer func() { d.r.data = nil }()
	if len(data) < 2 || data[0] != 0xFF || data[1] != mSOI {
		return codec.Corrupt("not a JPEG: it does not begin with FF D8")
	}
	if err := d.segments(ctx, 2, pic); err != nil {
		return err
	}
	return d.finish(ctx, pic)
}

func (d *Decoder) reset(data []byte, o Options) error {
	if d.std[0] == nil {
		std, err := standard()
		if err != nil {
			return err
		}
		d.std = std
	}
	if d.level == 0 {
		d.level = codec.BestLevel()
	}
	d.tables = [2][4]*table{{d.std[0], d.std[1]}, {d.std[2], d.std[3]}}
	d.opts = o
	d.r.data = data
	d.hasQ = [4]bool{}
	d.frame, d.progressive, d.rgb, d.jfif, d.adobe = false, false, false, false, -1
	d.restart, d.scans, d.used = 0, 0, nil
	d.detail, d.missing = Detail{}, 0
	return nil
}

// The markers of T.81, Table B.1, that have a meaning here.
const (
	mSOF0, mSOF1, mSOF2 = 0xC0, 0xC1, 0xC2
	mDHT, mJPG, mDAC    = 0xC4, 0xC8, 0xCC
	mRST0, mRST7        = 0xD0, 0xD7
	mSOI, mEOI, mSOS    = 0xD8, 0xD9, 0xDA
	mDQT, mDNL, mDRI    = 0xDB, 0xDC, 0xDD
	mAPP0, mAPP14       = 0xE0, 0xEE
	mTEM                = 0x01
)

// segments reads marker by marker until the end of the picture.
func (d *Decoder) segments(ctx context.Context, pos int, pic *codec.Picture) error {
	data := d.r.data
	for {
		// Between segments some cameras pad; after a scan that was not walked,
		// its data is passed over here.
		m, next, ok := findMarker(data, pos)
		if (!ok || m == mSOI) && d.whole() {
			return nil
		}
		if !ok {
			return codec.Corrupt("the JPEG is cut off: its end marker is missing")
		}
		pos = next
		switch {
		case m == mEOI:
			return nil
		case m == mTEM || m >= mRST0 && m <= mRST7:
			continue
		case m == mSOI:
			return codec.Corrupt("the JPEG is cut off: another one begins before its end")
		}
		if pos+2 > len(data) {
			return codec.Corrupt("the JPEG is cut off in its headers")
		}
		n := int(binary.BigEndian.Uint16(data[pos:]))
		if n < 2 || pos+n > len(data) {
			return codec.Corrupt("the JPEG is cut off: segment %02X claims %d bytes", m, n)
		}
		body := data[pos+2 : pos+n]
		pos += n
		var err error
		switch {
		case m == mDHT:
			err = d.huffman(body)
		case m == mDQT:
			err = d.quantisers(body)
		case m == mDRI:
			if len(body) < 2 {
				return codec.Corrupt("the JPEG's restart segment is too short")
			}
			d.restart = int(binary.BigEndian.Uint16(body))
		case m == mAPP0:
			d.jfif = d.jfif || len(body) >= 5 && string(body[:5]) == "JFIF\x00"
		case m == mAPP14:
			if len(body) >= 12 && string(body[:5]) == "Adobe" {
				d.adobe = int(body[11])
			}
		case m == mSOF0 || m == mSOF1 || m == mSOF2:
			d.progressive = m == mSOF2
			err = d.frameHeader(body)
		case m == mDAC || m > mSOF2 && m <= 0xCF && m != mJPG:
			return codec.Unsupported("%s JPEG is not read: set the camera to baseline JPEG", kinds[m])
		case m == mDNL:
			return codec.Unsupported("a JPEG that tells its height at its end is not read")
		case m == mSOS:
			if d.scans++; d.scans > d.opts.Limits.Scans {
				return fleet.Errorf(fleet.CauseTooLarge, "the JPEG has more than %d scans", d.opts.Limits.Scans)
			}
			pos, err = d.scan(ctx, body, pos, pic)
			if err == nil && d.missing > 0 {
				return nil // whatever is behind it is not to be trusted
			}
		}
		if err != nil {
			return err
		}
	}
}

// kinds names the frame headers that are refused.
var kinds = map[byte]string{
	0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical lossless",
	0xC9: "arithmetic-coded", 0xCA: "arithmetic-coded", 0xCB: "arithmetic-coded lossless", 0xCC: "arithmetic-coded",
	0xCD: "arithmetic-coded", 0xCE: "arithmetic-coded", 0xCF: "arithmetic-coded",
}

// findMarker returns the next marker at or after pos, and where it ends.
func findMarker(data []byte, pos int) (m byte, next int, ok bool) {
	for pos+1 < len(data) {
		if data[pos] != 0xFF {
			pos++
			continue
		}
		switch c := data[pos+1]; c {
		case 0xFF: // a fill byte
			pos++
		case 0: // a stuffed 0xFF of data
			pos += 2
		default:
			return c, pos + 2, true
		}
	}
	return 0, 0, false
}

func (d *Decoder) huffman(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 {
			return codec.Corrupt("the JPEG's Huffman segment is too short")
		}
		class, slot := int(b[0]>>4), int(b[0]&15)
		if class > 1 || slot > 3 {
			return codec.Corrupt("the JPEG has no Huffman table %d of class %d", slot, class)
		}
		n := 0
		for _, c := range b[1:17] {
			n += int(c)
		}
		if n > 256 || len(b) < 17+n {
			return codec.Corrupt("the JPEG's Huffman table claims %d symbols", n)
		}
		if d.own[class][slot] == nil {
			d.own[class][slot] = new(table)
		}
		if err := d.own[class][slot].build(b[1:17], b[17:17+n]); err != nil {
			return err
		}
		d.tables[class][slot] = d.own[class][slot]
		b = b[17+n:]
	}
	return nil
}

func (d *Decoder) quantisers(b []byte) error {
	for len(b) > 0 {
		wide, slot := int(b[0]>>4), int(b[0]&15)
		b = b[1:]
		if wide > 1 || slot > 3 || len(b) < 64<<wide {
			return codec.Corrupt("the JPEG's quantiser table is broken")
		}
		for i := range 64 {
			if wide == 1 {
				d.quant[slot][i] = binary.BigEndian.Uint16(b[2*i:])
			} else {
				d.quant[slot][i] = uint16(b[i])
			}
		}
		d.hasQ[slot] = true
		b = b[64<<wide:]
	}
	return nil
}

func (d *Decoder) frameHeader(b []byte) error {
	if d.frame {
		return codec.Corrupt("the JPEG has two frame headers")
	}
	if len(b) < 6 || len(b) < 6+3*int(b[5]) {
		return codec.Corrupt("the JPEG's frame header is too short")
	}
	if b[0] != 8 {
		return codec.Unsupported("a JPEG of %d bits a sample is not read: want 8", b[0])
	}
	d.height, d.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	if err := d.opts.Limits.CheckSize(d.width, d.height); err != nil {
		return err
	}
	if d.opts.Width > 0 {
		d.opts.Scale = 1
		for d.opts.Scale < 8 && divUp(d.width, 2*d.opts.Scale) >= d.opts.Width {
			d.opts.Scale *= 2
		}
	}
	n := int(b[5])
	if n != 1 && n != 3 {
		return codec.Unsupported("a JPEG of %d components is not read: want gray or color", n)
	}
	d.used = d.comps[:n]
	d.hmax, d.vmax = 1, 1
	for i := range d.used {
		c := &d.used[i]
		f := b[6+3*i:]
		*c = component{id: int(f[0]), h: int(f[1] >> 4), v: int(f[1] & 15), tq: int(f[2]), coefs: c.coefs, set: c.set}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return codec.Corrupt("the JPEG's component %d is broken", i)
		}
		if n == 1 {
			c.h, c.v = 1, 1 // a single component is never interleaved
		}
		d.hmax, d.vmax = max(d.hmax, c.h), max(d.vmax, c.v)
	}
	if y := &d.used[0]; y.h != d.hmax || y.v != d.vmax {
		return codec.Unsupported("a JPEG whose luma is coarser than its chroma is not read")
	}
	// JFIF has no other colors than YCbCr, as libjpeg and the standard library
	// have it, too; without, Adobe's word comes before the components' names.
	d.rgb = n == 3 && !d.jfif && (d.adobe == 0 || d.adobe < 0 && d.used[0].id == 'R' && d.used[1].id == 'G' && d.used[2].id == 'B')
	d.mcusX, d.mcusY = divUp(d.width, 8*d.hmax), divUp(d.height, 8*d.vmax)
	for i := range d.used {
		c := &d.used[i]
		w, h := d.size(c)
		c.blocksX, c.blocksY = divUp(w, 8), divUp(h, 8)
		c.paddedX, c.paddedY = d.mcusX*c.h, d.mcusY*c.v
		switch {
		case i == 0:
			c.wanted, c.side = true, 8/d.opts.Scale
		case d.rgb:
			if c.h != d.hmax || c.v != d.vmax {
				return codec.Unsupported("an RGB JPEG with subsampled colors is not read")
			}
			c.wanted, c.side = true, 8/d.opts.Scale
		case d.opts.Chroma > 0:
			c.wanted, c.side = true, 8
			for c.side > 1 && divUp(w*c.side/2, 8) >= d.opts.Chroma {
				c.side /= 2
			}
		}
	}
	d.frame = true
	return nil
}

// size is the component's own size in samples, T.81 A.1.1.
func (d *Decoder) size(c *component) (w, h int) {
	return divUp(d.width*c.h, d.hmax), divUp(d.height*c.v, d.vmax)
}

func divUp(a, b int) int { return (a + b - 1) / b }
