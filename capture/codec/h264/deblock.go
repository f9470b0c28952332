package h264

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
	filter := edge.luma
	if i > 0 {
		filter = edge.chroma
	}
	if left != nil {
		filter(s.edge(mean(left), true), plane, at, 1, stride, size)
	}
	for k := step; k < size; k += step {
		filter(inner, plane, at+k, 1, stride, size)
	}
	if top != nil {
		filter(s.edge(mean(top), true), plane, at, stride, 1, size)
	}
	for k := step; k < size; k += step {
		filter(inner, plane, at+k*stride, stride, 1, size)
	}
}

func diff(a, b int32) int32 { return max(a-b, b-a) }

// luma filters n lines of samples across an edge, 8.7.2.3 and 8.7.2.4: q0 of
// the first is p[at], the samples of a line are step apart, the lines are next
// apart.
func (e edge) luma(p []uint8, at, step, next, n int) {
	if e.alpha == 0 || e.beta == 0 {
		return
	}
	for ; n > 0; n, at = n-1, at+next {
		p0, q0 := int32(p[at-step]), int32(p[at])
		if diff(p0, q0) >= e.alpha {
			continue
		}
		p1, q1 := int32(p[at-2*step]), int32(p[at+step])
		if diff(p1, p0) >= e.beta || diff(q1, q0) >= e.beta {
			continue
		}
		p2, q2 := int32(p[at-3*step]), int32(p[at+2*step])
		smoothP, smoothQ := diff(p2, p0) < e.beta, diff(q2, q0) < e.beta
		if !e.strong {
			tc := e.tc0
			if smoothP {
				p[at-2*step] = uint8(p1 + min(max((p2+(p0+q0+1)>>1-2*p1)>>1, -e.tc0), e.tc0))
				tc++
			}
			if smoothQ {
				p[at+step] = uint8(q1 + min(max((q2+(p0+q0+1)>>1-2*q1)>>1, -e.tc0), e.tc0))
				tc++
			}
			delta := min(max(((q0-p0)<<2+p1-q1+4)>>3, -tc), tc)
			p[at-step], p[at] = clip(p0+delta), clip(q0-delta)
			continue
		}
		near := diff(p0, q0) < e.alpha>>2+2
		if near && smoothP {
			p3 := int32(p[at-4*step])
			p[at-step] = uint8((p2 + 2*p1 + 2*p0 + 2*q0 + q1 + 4) >> 3)
			p[at-2*step] = uint8((p2 + p1 + p0 + q0 + 2) >> 2)
			p[at-3*step] = uint8((2*p3 + 3*p2 + p1 + p0 + q0 + 4) >> 3)
		} else {
			p[at-step] = uint8((2*p1 + p0 + q1 + 2) >> 2)
		}
		if near && smoothQ {
			q3 := int32(p[at+3*step])
			p[at] = uint8((p1 + 2*p0 + 2*q0 + 2*q1 + q2 + 4) >> 3)
			p[at+step] = uint8((p0 + q0 + q1 + q2 + 2) >> 2)
			p[at+2*step] = uint8((2*q3 + 3*q2 + q1 + q0 + p0 + 4) >> 3)
		} else {
			p[at] = uint8((2*q1 + q0 + p1 + 2) >> 2)
		}
	}
}

// chroma is luma for chroma samples, of which the nearest alone change.
func (e edge) chroma(p []uint8, at, step, next, n int) {
	if e.alpha == 0 || e.beta == 0 {
		return
	}
	for ; n > 0; n, at = n-1, at+next {
		p1, p0, q0, q1 := int32(p[at-2*step]), int32(p[at-step]), int32(p[at]), int32(p[at+step])
		if diff(p0, q0) >= e.alpha || diff(p1, p0) >= e.beta || diff(q1, q0) >= e.beta {
			continue
		}
		if e.strong {
			p[at-step], p[at] = uint8((2*p1+p0+q1+2)>>2), uint8((2*q1+q0+p1+2)>>2)
			continue
		}
		delta := min(max(((q0-p0)<<2+p1-q1+4)>>3, -e.tc0-1), e.tc0+1)
		p[at-step], p[at] = clip(p0+delta), clip(q0-delta)
	}
}
