package h264

import "encoding/binary"

// alphas and betas are alpha' and beta' by indexA and indexB, Table 8-16; tc0s
// is t'C0 for bS 3, Table 8-17.
var (
	alphas = [52]uint8{
		16: 4, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 17, 20, 22, 25, 28, 32, 36,
		40, 45, 50, 56, 63, 71, 80, 90, 101, 113, 127, 144, 162, 182, 203, 226, 255, 255,
	}
	betas = [52]uint8{
		16: 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 6, 6, 7, 7, 8, 8, 9, 9,
		10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 17, 18, 18,
	}
	tc0s = [52]uint8{
		17: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4,
		4, 4, 5, 6, 6, 7, 8, 9, 10, 11, 13, 14, 16, 18, 20, 23, 25,
	}
)

// edge is how the samples along one edge are filtered. In intra macroblocks of
// frames bS is 4 between macroblocks and 3 within, 8.7.2.1.
type edge struct {
	alpha, beta, tc0 int32
	strong           bool // bS is 4
}

// edge prepares for qp, the mean of both sides, 8.7.2.2.
func (s *sliceInfo) edge(qp int, strong bool) edge {
	a, b := min(max(qp+s.alpha, 0), 51), min(max(qp+s.beta, 0), 51)
	return edge{alpha: int32(alphas[a]), beta: int32(betas[b]), tc0: int32(tc0s[a]), strong: strong}
}

// deblock is 8.7, for the whole picture at once: intra prediction needed it as it
// was.
func (d *Decoder) deblock() {
	for y := range d.mbH {
		for x := range d.mbW {
			d.deblockMB(x, y)
		}
	}
}

func (d *Decoder) deblockMB(x, y int) {
	addr := y*d.mbW + x
	m := &d.mbs[addr]
	s := &d.slices[m.slice-1]
	if s.noDeblock == 1 {
		return
	}
	var left, top *mbInfo
	if x > 0 {
		left = &d.mbs[addr-1]
	}
	if y > 0 {
		top = &d.mbs[addr-d.mbW]
	}
	if s.noDeblock == 2 {
		if left != nil && left.slice != m.slice {
			left = nil
		}
		if top != nil && top.slice != m.slice {
			top = nil
		}
	}
	luma := func(n *mbInfo) int { return (int(m.qp) + int(n.qp) + 1) >> 1 }
	step := 4
	if m.t8 != 0 {
		step = 8
	}
	d.deblockPlane(0, x, y, 16, step, s, left, top, luma(m), luma)
	for i := 1; i < 3; i++ {
		if len(d.planes[i]) == 0 {
			return
		}
		offset := s.chromaOffset[i-1]
		chroma := func(n *mbInfo) int {
			return (chromaQP(offset, int(m.qp)) + chromaQP(offset, int(n.qp)) + 1) >> 1
		}
		d.deblockPlane(i, x, y, 8, 4, s, left, top, chroma(m), chroma)
	}
}

// deblockPlane filters the vertical edges of a macroblock, and then the
// horizontal ones, every step samples.
func (d *Decoder) deblockPlane(i, x, y, size, step int, s *sliceInfo, left, top *mbInfo, qp int, mean func(*mbInfo) int) {
	plane, stride := d.planes[i], d.stride[i]
	at := size * (y*stride + x)
	inner := s.edge(qp, false)
	vertical, horizontal := edge.lumaVertical, edge.lumaHorizontal
	if i > 0 {
		vertical, horizontal = edge.chromaVertical, edge.chromaHorizontal
	}
	if left != nil {
		vertical(s.edge(mean(left), true), plane, at, stride)
	}
	for k := step; k < size; k += step {
		vertical(inner, plane, at+k, stride)
	}
	if top != nil {
		horizontal(s.edge(mean(top), true), plane, at, stride)
	}
	for k := step; k < size; k += step {
		horizontal(inner, plane, at+k*stride, stride)
	}
}

func diff(a, b uint8) int32 { return max(int32(a)-int32(b), int32(b)-int32(a)) }

// off says whether nothing is filtered at such an edge.
func (e *edge) off() bool { return e.alpha == 0 || e.beta == 0 }

// filters is filterSamplesFlag of (8-468).
func (e *edge) filters(p1, p0, q0, q1 uint8) bool {
	return diff(p0, q0) < e.alpha && diff(p1, p0) < e.beta && diff(q1, q0) < e.beta
}

// weak is the filter for bS below 4, 8.7.2.3, of luma.
func (e *edge) weak(p2, p1, p0, q0, q1, q2 uint8) (p1n, p0n, q0n, q1n uint8) {
	p1n, q1n = p1, q1
	tc := e.tc0
	mid := (int32(p0) + int32(q0) + 1) >> 1
	if diff(p2, p0) < e.beta {
		p1n = uint8(int32(p1) + min(max((int32(p2)+mid-2*int32(p1))>>1, -e.tc0), e.tc0))
		tc++
	}
	if diff(q2, q0) < e.beta {
		q1n = uint8(int32(q1) + min(max((int32(q2)+mid-2*int32(q1))>>1, -e.tc0), e.tc0))
		tc++
	}
	p0n, q0n = toward(p1, p0, q0, q1, tc)
	return p1n, p0n, q0n, q1n
}

// toward moves p0 and q0 towards each other by at most tc.
func toward(p1, p0, q0, q1 uint8, tc int32) (p0n, q0n uint8) {
	delta := min(max(((int32(q0)-int32(p0))<<2+int32(p1)-int32(q1)+4)>>3, -tc), tc)
	return clip(int32(p0) + delta), clip(int32(q0) - delta)
}

// firm is one side of the filter for bS 4, 8.7.2.4, of luma: the new a0, a1 and
// a2 on the side of a, seen from which b0 is across the edge.
func (e *edge) firm(a3, a2, a1, a0, b0, b1 uint8) (a2n, a1n, a0n uint8) {
	if diff(a0, b0) < e.alpha>>2+2 && diff(a2, a0) < e.beta {
		s := int32(a2) + int32(a1) + int32(a0) + int32(b0)
		return uint8((2*(int32(a3)+int32(a2)) + s + 4) >> 3), uint8((s + 2) >> 2),
			uint8((2*s - int32(a2) + int32(b1) + 4) >> 3)
	}
	return a2, a1, beside(a1, a0, b1)
}

// beside is the new a0 where only the samples at the edge change.
func beside(a1, a0, b1 uint8) uint8 { return uint8((2*int32(a1) + int32(a0) + int32(b1) + 2) >> 2) }

// lumaVertical filters 16 rows across the edge in front of p[at].
func (e edge) lumaVertical(p []uint8, at, stride int) {
	if e.off() {
		return
	}
	for y := range 16 {
		w := (*[8]uint8)(p[at-4+y*stride:])
		if v := binary.LittleEndian.Uint64(w[:]); v == v<<8|v>>56 {
			continue // flat: it stays so
		}
		p2, p1, p0, q0, q1, q2 := w[1], w[2], w[3], w[4], w[5], w[6]
		if !e.filters(p1, p0, q0, q1) {
			continue
		}
		if e.strong {
			w[1], w[2], w[3] = e.firm(w[0], p2, p1, p0, q0, q1)
			w[6], w[5], w[4] = e.firm(w[7], q2, q1, q0, p0, p1)
		} else {
			w[2], w[3], w[4], w[5] = e.weak(p2, p1, p0, q0, q1, q2)
		}
	}
}

// lumaHorizontal filters 16 columns across the edge above p[at].
func (e edge) lumaHorizontal(p []uint8, at, stride int) {
	if e.off() {
		return
	}
	row := func(k int) *[16]uint8 { return (*[16]uint8)(p[at+k*stride:]) }
	r0, r1, r2, r3, r4, r5, r6, r7 := row(-4), row(-3), row(-2), row(-1), row(0), row(1), row(2), row(3)
	for x := 0; x < 16; x++ {
		if x&7 == 0 && flat(x, r0, r1, r2, r3, r4, r5, r6, r7) {
			x += 7
			continue
		}
		p2, p1, p0, q0, q1, q2 := r1[x], r2[x], r3[x], r4[x], r5[x], r6[x]
		if !e.filters(p1, p0, q0, q1) {
			continue
		}
		if e.strong {
			r1[x], r2[x], r3[x] = e.firm(r0[x], p2, p1, p0, q0, q1)
			r6[x], r5[x], r4[x] = e.firm(r7[x], q2, q1, q0, p0, p1)
		} else {
			r2[x], r3[x], r4[x], r5[x] = e.weak(p2, p1, p0, q0, q1, q2)
		}
	}
}

// flat says whether 8 columns from x on are the same in all rows: no filter
// changes them. Much of what a camera sees is flat once it is coded.
func flat(x int, r0, r1, r2, r3, r4, r5, r6, r7 *[16]uint8) bool {
	eight := func(r *[16]uint8) uint64 { return binary.LittleEndian.Uint64(r[x&8:]) }
	v := eight(r3)
	return v == eight(r4) && v == eight(r2) && v == eight(r5) && v == eight(r1) && v == eight(r6) && v == eight(r0) && v == eight(r7)
}

// chroma is the filter of chroma, of which the nearest samples alone change.
func (e *edge) chroma(p1, p0, q0, q1 uint8) (p0n, q0n uint8) {
	if !e.filters(p1, p0, q0, q1) {
		return p0, q0
	}
	if e.strong {
		return beside(p1, p0, q1), beside(q1, q0, p1)
	}
	return toward(p1, p0, q0, q1, e.tc0+1)
}

// chromaVertical filters 8 rows across the edge in front of p[at].
func (e edge) chromaVertical(p []uint8, at, stride int) {
	if e.off() {
		return
	}
	for y := range 8 {
		w := (*[4]uint8)(p[at-2+y*stride:])
		w[1], w[2] = e.chroma(w[0], w[1], w[2], w[3])
	}
}

// chromaHorizontal filters 8 columns across the edge above p[at].
func (e edge) chromaHorizontal(p []uint8, at, stride int) {
	if e.off() {
		return
	}
	row := func(k int) *[8]uint8 { return (*[8]uint8)(p[at+k*stride:]) }
	r0, r1, r2, r3 := row(-2), row(-1), row(0), row(1)
	for x := range 8 {
		r1[x], r2[x] = e.chroma(r0[x], r1[x], r2[x], r3[x])
	}
}
