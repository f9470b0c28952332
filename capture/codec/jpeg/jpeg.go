// Package jpeg decodes a JPEG just far enough: luma at full size or scaled down
// in the transform, and chroma as small as a thumbnail needs.
//
//	markers ──► tables, frame ──► scans (Huffman) ──► coefficients ──► IDCT 8, 4, 2 or 1
//
// Baseline, extended and progressive 8-bit pictures as ITU-T T.81 has them, gray
// or YCbCr. Missing Huffman tables are taken from T.81 Annex K, as MJPEG
// cameras leave them out. Every size is checked before it is allocated: a file
// can hold no more blocks than its bits.
package jpeg

import (
	"encoding/binary"
	"sync"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options say what is decoded.
type Options struct {
	Scale  int // luma is 1/Scale of the picture: 1 (default), 2, 4 or 8
	Chroma int // chroma is 1/Chroma of its own size: 1, 2, 4 or 8; 0 = none
}

const (
	maxScans      = 100 // a progressive camera picture has about 10
	maxComponents = 3
)

func corrupt(format string, args ...any) error {
	return fleet.Errorf(fleet.CauseCorrupt, "JPEG: "+format, args...)
}

// component is one colour component of the frame.
type component struct {
	id     byte
	h, v   int
	tq     byte
	bw, bh int // blocks across and down, padded to whole MCUs
	dc, ac byte
	pred   int32
	seen   bool
	coefs  []int16 // progressive only: 64 a block
	out    codec.Plane
	size   int // samples a block has on each side: 8, 4, 2, 1; 0 = not wanted
}

type decoder struct {
	data  []byte
	pos   int
	opts  Options
	quant [4][64]uint16
	haveQ [4]bool
	huff  [2][4]table // DC, AC
	w, h  int
	comps []component
	hmax  int
	vmax  int
	ri    int // restart interval in MCUs
	prog  bool
	adobe int // transform of the Adobe marker; -1 = none
	scans int
	bits  bits
	eob   int // blocks left in an end-of-band run
	block [64]int32
}

var pool = sync.Pool{New: func() any { return new(decoder) }}

// Size returns the picture's size without decoding it.
func Size(data []byte) (w, h int, err error) {
	d := &decoder{data: data, adobe: -1}
	if err := d.markers(true); err != nil {
		return 0, 0, err
	}
	return d.w, d.h, nil
}

// Decode decodes the picture. Its errors are *fleet.CameraError.
func Decode(data []byte, o Options) (*codec.Image, error) {
	if o.Scale == 0 {
		o.Scale = 1
	}
	if len(data) > codec.MaxBytes {
		return nil, fleet.Errorf(fleet.CauseTooLarge, "JPEG: %d bytes, at most %d are read", len(data), codec.MaxBytes)
	}
	d := pool.Get().(*decoder)
	defer pool.Put(d)
	*d = decoder{data: data, opts: o, adobe: -1}
	if err := d.markers(false); err != nil {
		return nil, err
	}
	if d.prog {
		d.reconstruct()
	}
	img := &codec.Image{Y: d.comps[0].out}
	if len(d.comps) == 3 && o.Chroma > 0 {
		img.Cb, img.Cr = d.comps[1].out, d.comps[2].out
	}
	d.comps, d.data = nil, nil
	return img, nil
}

// markers walks the file; with sizeOnly it ends at the frame header.
func (d *decoder) markers(sizeOnly bool) error {
	if len(d.data) < 4 || d.data[0] != 0xff || d.data[1] != 0xd8 {
		return corrupt("it does not begin as one")
	}
	d.pos = 2
	for {
		m, err := d.marker()
		if err != nil {
			if d.scans > 0 && d.complete() {
				return nil // the picture is whole, the end marker is missing
			}
			return err
		}
		switch {
		case m == 0xd9: // EOI
			if d.scans == 0 || !d.complete() {
				return corrupt("it ends before the picture is whole")
			}
			return nil
		case m >= 0xd0 && m <= 0xd8 || m == 0x01:
			continue
		}
		seg, err := d.segment()
		if err != nil {
			return err
		}
		switch {
		case m == 0xc0 || m == 0xc1 || m == 0xc2:
			d.prog = m == 0xc2
			if err := d.frame(seg, sizeOnly); err != nil || sizeOnly {
				return err
			}
		case m == 0xc4:
			err = d.huffman(seg)
		case m >= 0xc3 && m <= 0xcf && m != 0xc8 && m != 0xcc:
			return fleet.Errorf(fleet.CauseUnsupportedCodec, "JPEG: process %d (lossless, hierarchical or arithmetic) is not decoded", m-0xc0)
		case m == 0xdb:
			err = d.quantizers(seg)
		case m == 0xdd:
			if len(seg) < 2 {
				return corrupt("restart interval is cut")
			}
			d.ri = int(binary.BigEndian.Uint16(seg))
		case m == 0xda:
			err = d.scan(seg)
		case m == 0xee && len(seg) >= 12 && string(seg[:5]) == "Adobe":
			d.adobe = int(seg[11])
		}
		if err != nil {
			return err
		}
	}
}

// marker finds the next marker, skipping fill bytes and stray data.
func (d *decoder) marker() (byte, error) {
	for d.pos+1 < len(d.data) {
		if d.data[d.pos] == 0xff && d.data[d.pos+1] != 0 && d.data[d.pos+1] != 0xff {
			d.pos += 2
			return d.data[d.pos-1], nil
		}
		d.pos++
	}
	return 0, corrupt("it is cut off")
}

func (d *decoder) segment() ([]byte, error) {
	if d.pos+2 > len(d.data) {
		return nil, corrupt("it is cut off")
	}
	n := int(binary.BigEndian.Uint16(d.data[d.pos:]))
	if n < 2 || d.pos+n > len(d.data) {
		return nil, corrupt("a segment is longer than the file")
	}
	seg := d.data[d.pos+2 : d.pos+n]
	d.pos += n
	return seg, nil
}

func (d *decoder) quantizers(seg []byte) error {
	for len(seg) > 0 {
		pq, tq := seg[0]>>4, seg[0]&15
		n := 64 << (pq & 1)
		if tq > 3 || pq > 1 || len(seg) < 1+n {
			return corrupt("quantisation table")
		}
		for i := range 64 {
			if pq == 0 {
				d.quant[tq][i] = uint16(seg[1+i])
			} else {
				d.quant[tq][i] = binary.BigEndian.Uint16(seg[1+2*i:])
			}
		}
		d.haveQ[tq] = true
		seg = seg[1+n:]
	}
	return nil
}

func (d *decoder) huffman(seg []byte) error {
	for len(seg) > 0 {
		if len(seg) < 17 {
			return corrupt("Huffman table is cut")
		}
		tc, th := seg[0]>>4, seg[0]&15
		if tc > 1 || th > 3 {
			return corrupt("Huffman table %d/%d", tc, th)
		}
		n := 0
		for _, c := range seg[1:17] {
			n += int(c)
		}
		if n > 256 || len(seg) < 17+n {
			return corrupt("Huffman table is cut")
		}
		if !d.huff[tc][th].build(seg[1:17], seg[17:17+n]) {
			return corrupt("Huffman table has too many codes")
		}
		seg = seg[17+n:]
	}
	return nil
}

func (d *decoder) frame(seg []byte, sizeOnly bool) error {
	if d.comps != nil {
		return corrupt("two frames")
	}
	if len(seg) < 6 || len(seg) < 6+3*int(seg[5]) {
		return corrupt("frame header is cut")
	}
	if seg[0] != 8 {
		return fleet.Errorf(fleet.CauseUnsupportedCodec, "JPEG: %d bits a sample are not decoded", seg[0])
	}
	d.h, d.w = int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:]))
	if err := codec.CheckSize(d.w, d.h); err != nil || sizeOnly {
		return err
	}
	n := int(seg[5])
	if n != 1 && n != 3 {
		return fleet.Errorf(fleet.CauseUnsupportedCodec, "JPEG: %d components are not decoded", n)
	}
	d.comps = make([]component, n)
	d.hmax, d.vmax = 1, 1
	for i := range d.comps {
		c := &d.comps[i]
		c.id, c.h, c.v, c.tq = seg[6+3*i], int(seg[7+3*i]>>4), int(seg[7+3*i]&15), seg[8+3*i]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return corrupt("component %d", i)
		}
		if n == 1 {
			c.h, c.v = 1, 1 // T.81 A.2.2: a lone component is not interleaved
		}
		d.hmax, d.vmax = max(d.hmax, c.h), max(d.vmax, c.v)
	}
	if n == 3 && (d.adobe == 0 || d.adobe < 0 && d.comps[0].id == 'R' && d.comps[1].id == 'G' && d.comps[2].id == 'B') {
		return fleet.Errorf(fleet.CauseUnsupportedCodec, "JPEG: it is coded as RGB and has no luma")
	}
	blocks := 0
	for i := range d.comps {
		c := &d.comps[i]
		c.bw = ceil(d.w, 8*d.hmax) * c.h
		c.bh = ceil(d.h, 8*d.vmax) * c.v
		blocks += c.bw * c.bh
	}
	// A block takes two bits at least, or one in a progressive DC scan.
	if per := map[bool]int{false: 4, true: 8}[d.prog]; blocks/per > len(d.data) {
		return corrupt("%d bytes cannot hold %dx%d pixels", len(d.data), d.w, d.h)
	}
	for i := range d.comps {
		d.prepare(i)
	}
	return nil
}

func ceil(a, b int) int { return (a + b - 1) / b }

// prepare allocates what the component is decoded into.
func (d *decoder) prepare(i int) {
	c := &d.comps[i]
	switch {
	case i == 0:
		c.size = 8 / d.opts.Scale
	case d.opts.Chroma > 0:
		c.size = 8 / d.opts.Chroma
	}
	if c.size > 0 {
		p := codec.NewPlane(c.bw*c.size, c.bh*c.size, nil)
		// The picture's own part of the padded blocks.
		p.Width = ceil(ceil(d.w*c.h, d.hmax)*c.size, 8)
		p.Height = ceil(ceil(d.h*c.v, d.vmax)*c.size, 8)
		c.out = p
		if d.prog {
			c.coefs = make([]int16, 64*c.bw*c.bh)
		}
	}
}

// scan decodes one scan.
func (d *decoder) scan(seg []byte) error {
	if d.comps == nil {
		return corrupt("a scan comes before its frame")
	}
	if d.scans++; d.scans > maxScans {
		return fleet.Errorf(fleet.CauseTooLarge, "JPEG: more than %d scans", maxScans)
	}
	if len(seg) < 1 || seg[0] < 1 || int(seg[0]) > len(d.comps) || len(seg) < 4+2*int(seg[0]) {
		return corrupt("scan header")
	}
	n := int(seg[0])
	var cs [maxComponents]*component
	for i := range n {
		for j := range d.comps {
			if d.comps[j].id == seg[1+2*i] {
				cs[i] = &d.comps[j]
			}
		}
		t := seg[2+2*i]
		if cs[i] == nil || t>>4 > 3 || t&15 > 3 {
			return corrupt("scan component")
		}
		for j := range i {
			if cs[j] == cs[i] {
				return corrupt("a component is twice in a scan")
			}
		}
		cs[i].dc, cs[i].ac, cs[i].seen = t>>4, t&15, true
	}
	ss, se, ah, al := int(seg[1+2*n]), int(seg[2+2*n]), int(seg[3+2*n]>>4), int(seg[3+2*n]&15)
	if !d.prog {
		ss, se, ah, al = 0, 63, 0, 0
	} else if ss > se || se > 63 || ss == 0 && se != 0 || ss > 0 && n > 1 || al > 13 || ah != 0 && ah != al+1 {
		return corrupt("spectral selection")
	}
	for i := range n {
		c := cs[i]
		if !d.haveQ[c.tq] {
			return corrupt("quantisation table %d is missing", c.tq)
		}
		d.standard(0, c.dc)
		d.standard(1, c.ac)
	}
	return d.entropy(cs[:n], ss, se, uint(ah), uint(al))
}

// entropy walks the scan's MCUs.
func (d *decoder) entropy(cs []*component, ss, se int, ah, al uint) error {
	if d.prog && ss > 0 && cs[0].coefs == nil {
		return nil // nobody wants it: the next marker ends its data
	}
	d.bits = bits{data: d.data, pos: d.pos}
	d.eob = 0
	for _, c := range cs {
		c.pred = 0
	}
	across, down := ceil(d.w, 8*d.hmax), ceil(d.h, 8*d.vmax)
	if len(cs) == 1 {
		// A scan of one component has only the blocks that hold picture.
		c := cs[0]
		across, down = ceil(ceil(d.w*c.h, d.hmax), 8), ceil(ceil(d.h*c.v, d.vmax), 8)
	}
	left, next := d.ri, byte(0)
	for my := range down {
		for mx := range across {
			if d.ri > 0 && left == 0 {
				if err := d.restart(cs, &next); err != nil {
					return err
				}
				left = d.ri
			}
			left--
			for _, c := range cs {
				if len(cs) == 1 {
					if err := d.unit(c, mx, my, ss, se, ah, al); err != nil {
						return err
					}
					continue
				}
				for v := range c.v {
					for h := range c.h {
						if err := d.unit(c, mx*c.h+h, my*c.v+v, ss, se, ah, al); err != nil {
							return err
						}
					}
				}
			}
		}
		if d.bits.over() {
			return corrupt("it is cut off in row %d of %d", my, down)
		}
	}
	d.pos = d.bits.end()
	return nil
}

// restart takes a restart marker between MCUs.
func (d *decoder) restart(cs []*component, next *byte) error {
	d.pos = d.bits.end()
	m, err := d.marker()
	if err != nil || m != 0xd0+*next {
		return corrupt("a restart marker is missing")
	}
	*next = (*next + 1) & 7
	d.bits = bits{data: d.data, pos: d.pos}
	d.eob = 0
	for _, c := range cs {
		c.pred = 0
	}
	return nil
}

// unit decodes one block of a scan.
func (d *decoder) unit(c *component, bx, by, ss, se int, ah, al uint) error {
	if !d.prog {
		return d.baseline(c, bx, by)
	}
	var b []int16
	if c.coefs != nil {
		at := 64 * (by*c.bw + bx)
		b = c.coefs[at : at+64]
	} else {
		var scratch [64]int16 // a DC scan of a component that nobody wants
		b = scratch[:]
	}
	switch {
	case ss == 0 && ah == 0:
		t := &d.huff[0][c.dc]
		n := d.bits.decode(t)
		if n > 15 {
			return corrupt("DC code")
		}
		c.pred += d.bits.extend(uint(n))
		b[0] = int16(c.pred << al)
	case ss == 0:
		if d.bits.take(1) != 0 {
			b[0] |= 1 << al
		}
	case ah == 0:
		return d.firstAC(c, b, ss, se, al)
	default:
		return d.refineAC(c, b, ss, se, al)
	}
	return nil
}

// complete reports whether luma has been in a scan; each scan was decoded to
// its end.
func (d *decoder) complete() bool { return d.comps != nil && d.comps[0].seen }

// baseline decodes a block and transforms it at once.
func (d *decoder) baseline(c *component, bx, by int) error {
	b := &d.block
	clear(b[:])
	q := &d.quant[c.tq]
	n := d.bits.decode(&d.huff[0][c.dc])
	if n > 15 {
		return corrupt("DC code")
	}
	c.pred += d.bits.extend(uint(n))
	b[0] = c.pred * int32(q[0])
	t := &d.huff[1][c.ac]
	last := 0
	for k := 1; k < 64; k++ {
		rs := d.bits.decode(t)
		r, s := int(rs>>4), uint(rs&15)
		if s == 0 {
			if r != 15 {
				break
			}
			k += 15
			continue
		}
		if k += r; k > 63 {
			return corrupt("a block has too many coefficients")
		}
		v := d.bits.extend(s)
		if c.size > 0 {
			b[zigzag[k]] = v * int32(q[k])
			last = k
		}
	}
	if c.size > 0 {
		d.transform(c, b, bx, by, last)
	}
	return nil
}

// firstAC decodes a band of a block for the first time (T.81 G.1.2.2).
func (d *decoder) firstAC(c *component, b []int16, ss, se int, al uint) error {
	if d.eob > 0 {
		d.eob--
		return nil
	}
	t := &d.huff[1][c.ac]
	for k := ss; k <= se; k++ {
		rs := d.bits.decode(t)
		r, s := int(rs>>4), uint(rs&15)
		if s == 0 {
			if r != 15 {
				d.eob = 1<<r - 1
				if r > 0 {
					d.eob += int(d.bits.take(uint(r)))
				}
				return nil
			}
			k += 15
			continue
		}
		if k += r; k > se {
			return corrupt("a band has too many coefficients")
		}
		b[zigzag[k]] = int16(d.bits.extend(s) << al)
	}
	return nil
}

// refineAC adds a bit to a band of a block (T.81 G.1.2.3).
func (d *decoder) refineAC(c *component, b []int16, ss, se int, al uint) error {
	plus, minus := int16(1)<<al, int16(-1)<<al
	refine := func(v *int16) {
		if d.bits.take(1) != 0 && *v&plus == 0 {
			if *v >= 0 {
				*v += plus
			} else {
				*v += minus
			}
		}
	}
	k := ss
	if d.eob == 0 {
		t := &d.huff[1][c.ac]
		for k <= se {
			rs := d.bits.decode(t)
			r, s := int(rs>>4), rs&15
			var fresh int16
			switch {
			case s == 0 && r != 15:
				d.eob = 1 << r
				if r > 0 {
					d.eob += int(d.bits.take(uint(r)))
				}
			case s == 0:
			case s == 1:
				fresh = minus
				if d.bits.take(1) != 0 {
					fresh = plus
				}
			default:
				return corrupt("refinement code")
			}
			if d.eob > 0 {
				break
			}
			for ; k <= se; k++ {
				v := &b[zigzag[k]]
				if *v != 0 {
					refine(v)
					continue
				}
				if r == 0 {
					break
				}
				r--
			}
			if fresh != 0 {
				if k > se {
					return corrupt("a band has too many coefficients")
				}
				b[zigzag[k]] = fresh
			}
			k++
		}
	}
	if d.eob > 0 {
		for ; k <= se; k++ {
			if v := &b[zigzag[k]]; *v != 0 {
				refine(v)
			}
		}
		d.eob--
	}
	return nil
}

// reconstruct transforms the coefficients of a progressive picture.
func (d *decoder) reconstruct() {
	for i := range d.comps {
		c := &d.comps[i]
		if c.coefs == nil {
			continue
		}
		q := &d.quant[c.tq]
		for by := range c.bh {
			for bx := range c.bw {
				src := c.coefs[64*(by*c.bw+bx):][:64]
				last := 0
				for k := range 64 {
					v := int32(src[zigzag[k]])
					d.block[zigzag[k]] = v * int32(q[k])
					if v != 0 {
						last = k
					}
				}
				d.transform(c, &d.block, bx, by, last)
			}
		}
		c.coefs = nil
	}
}

// transform writes a block's samples. last is the highest coefficient in
// zigzag order that may not be zero.
func (d *decoder) transform(c *component, b *[64]int32, bx, by, last int) {
	at := (by*c.size)*c.out.Stride + bx*c.size
	dst, stride := c.out.Pix[at:], c.out.Stride
	switch {
	case last == 0:
		// (DC + 4) / 8 + 128 in every sample.
		v := clamp((b[0]+4)>>3 + 128)
		for y := range c.size {
			row := dst[y*stride:][:c.size]
			for x := range row {
				row[x] = v
			}
		}
	case c.size == 8:
		idct8(b, dst, stride)
	default:
		idctSmall(b, dst, stride, c.size)
	}
}

func clamp(v int32) byte {
	if uint32(v) > 255 {
		if v < 0 {
			return 0
		}
		return 255
	}
	return byte(v)
}

var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}
