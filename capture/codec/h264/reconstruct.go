package h264

// reconstruct predicts the macroblock, adds its residual, and writes it to the
// picture. It says false for a prediction from what is not there.
func (d *Decoder) reconstruct(h *sliceHeader) bool {
	m := &d.mb
	has := around{left: m.a != nil, top: m.b != nil, corner: m.d != nil, right: m.c != nil}
	w := &d.work
	if m.kind == intraPCM {
		d.writePCM(h)
		return true
	}
	w.load(d.planes[0], d.stride[0], 16*m.x, 16*m.y, 16, has)
	var ok bool
	switch m.kind {
	case intra4x4:
		ok = d.luma4(has)
	case intra8x8:
		ok = d.luma8(has)
	default:
		ok = d.luma16(has)
	}
	if !ok {
		return false
	}
	w.store(d.planes[0], d.stride[0], 16*m.x, 16*m.y, 16)
	if h.sps.chromaFormat == 0 {
		return true
	}
	return d.chroma(h, has)
}

// load copies the samples around the macroblock at (x, y) from a plane.
func (w *canvas) load(plane []uint8, stride, x, y, size int, has around) {
	at := y*stride + x
	if has.top {
		row := plane[at-stride:]
		copy(w[origin-across:][:size], row[:size])
		if has.right && size == 16 {
			copy(w[origin-across+16:][:8], row[16:24])
		}
	}
	if has.corner {
		w[origin-across-1] = plane[at-stride-1]
	}
	if has.left {
		column := plane[at-1:]
		for i := range size {
			w[origin-1+i*across] = column[i*stride]
		}
	}
}

// store copies the macroblock to a plane.
func (w *canvas) store(plane []uint8, stride, x, y, size int) {
	plane = plane[y*stride+x:]
	if size == 16 {
		for i := range 16 {
			*(*[16]uint8)(plane[i*stride:]) = [16]uint8(w[origin+i*across:])
		}
		return
	}
	for i := range 8 {
		*(*[8]uint8)(plane[i*stride:]) = [8]uint8(w[origin+i*across:])
	}
}

// laterRight4 are the blocks in coding order whose upper right neighbour comes
// later, or belongs to the macroblock at the right.
const laterRight4 = 1<<3 | 1<<7 | 1<<11 | 1<<13 | 1<<15 | 1<<5

func (d *Decoder) luma4(mb around) bool {
	m, w := &d.mb, &d.work
	for i := range 16 {
		x, y := int(blockX[i]), int(blockY[i])
		has := around{left: mb.left || x > 0, top: mb.top || y > 0, right: laterRight4>>i&1 == 0}
		switch {
		case x > 0 && y > 0:
			has.corner = true
		case x > 0:
			has.corner = mb.top
		case y > 0:
			has.corner = mb.left
		default:
			has.corner = mb.corner
		}
		if y == 0 {
			has.right = mb.top
			if x == 3 {
				has.right = mb.right
			}
		}
		at := origin + 4*y*across + 4*x
		if !w.predict4(at, m.modes[cacheOf[i]], has) {
			return false
		}
		d.add(i, at)
	}
	return true
}

// add adds the residual of a 4x4 block.
func (d *Decoder) add(i, at int) {
	c := (*[16]int32)(d.mb.coefs[16*i:])
	switch n := d.mb.count[i]; {
	case n == 1 && c[0] != 0:
		addDC(d.work[at:], across, 4, &c[0])
	case n > 0:
		add4(d.work[at:], across, c)
	}
}

func (d *Decoder) luma8(mb around) bool {
	m, w := &d.mb, &d.work
	for i := range 4 {
		x, y := i&1, i>>1
		has := around{left: mb.left || x > 0, top: mb.top || y > 0}
		switch i {
		case 0:
			has.corner, has.right = mb.corner, mb.top
		case 1:
			has.corner, has.right = mb.top, mb.right
		case 2:
			has.corner, has.right = mb.left, true
		default:
			has.corner = true
		}
		at := origin + 8*y*across + 8*x
		if !w.predict8(at, m.modes[cacheOf[4*i]], has) {
			return false
		}
		c := (*[64]int32)(m.coefs[64*i:])
		switch n := m.count[4*i]; {
		case n == 1 && c[0] != 0:
			addDC(w[at:], across, 8, &c[0])
		case n > 0:
			add8(w[at:], across, c)
		}
	}
	return true
}

func (d *Decoder) luma16(has around) bool {
	m, w := &d.mb, &d.work
	if !w.predictWhole(m.mode16, 16, has) {
		return false
	}
	if !m.dcCoded && m.cbp&15 == 0 {
		return true
	}
	lumaDC(&m.dc, d.quant.m4[0][m.qp][0], &m.coefs)
	for i := range 16 {
		c := (*[16]int32)(m.coefs[16*i:])
		at := origin + 4*int(blockY[i])*across + 4*int(blockX[i])
		switch {
		case m.count[i] > 0:
			add4(w[at:], across, c)
		case c[0] != 0:
			addDC(w[at:], across, 4, &c[0])
		}
	}
	return true
}

// chroma predicts and completes both chroma planes, if they are wanted.
func (d *Decoder) chroma(h *sliceHeader, has around) bool {
	m, w := &d.mb, &d.work
	mode := chromaModes[m.info.chromaMode]
	for i := range 2 {
		plane, stride := d.planes[1+i], d.stride[1+i]
		if len(plane) == 0 {
			// What the samples would be does not matter, that it is decodable does.
			if mode == wholeVertical && !has.top || mode == wholeHorizontal && !has.left ||
				mode == wholePlane && !(has.left && has.top && has.corner) {
				return false
			}
			continue
		}
		w.load(plane, stride, 8*m.x, 8*m.y, 8, has)
		if !w.predictWhole(mode, 8, has) {
			return false
		}
		if m.cbp>>4 > 0 {
			chromaDC(&m.chromaDC[i], d.quant.m4[1+i][h.chromaQP(i, m.qp)][0], &m.chroma[i])
			for k := range 4 {
				at := origin + 4*(k>>1)*across + 4*(k&1)
				c := (*[16]int32)(m.chroma[i][16*k:])
				switch {
				case m.nzChroma[i][9+k&1+k>>1*8] > 0:
					add4(w[at:], across, c)
				case c[0] != 0:
					addDC(w[at:], across, 4, &c[0])
				}
			}
		}
		w.store(plane, stride, 8*m.x, 8*m.y, 8)
	}
	return true
}

// writePCM writes the samples of an I_PCM macroblock, 8.3.5.
func (d *Decoder) writePCM(h *sliceHeader) {
	m := &d.mb
	y := d.planes[0][16*m.y*d.stride[0]+16*m.x:]
	for i := range 16 {
		copy(y[i*d.stride[0]:][:16], m.pcm[16*i:])
	}
	for k := 1; k < 3 && h.sps.chromaFormat == 1; k++ {
		if len(d.planes[k]) == 0 {
			return
		}
		c := d.planes[k][8*m.y*d.stride[k]+8*m.x:]
		for i := range 8 {
			copy(c[i*d.stride[k]:][:8], m.pcm[192+64*k+8*i:])
		}
	}
}
