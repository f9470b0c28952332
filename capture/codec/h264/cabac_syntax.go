package h264

// parseCABAC is macroblock_layer() of 7.3.5 with entropy_coding_mode_flag 1.
func (d *Decoder) parseCABAC(h *sliceHeader) bool {
	m, c := &d.mb, &d.cabac
	color := h.sps.chromaFormat == 1
	m.info.dc, m.info.chromaMode, m.t8 = 0, 0, false
	t, pcm := d.mbType()
	switch {
	case pcm:
		return d.pcmCABAC(color)
	case t > 0:
		m.setType16(t)
		if !color && m.cbp > 15 {
			return false
		}
	default:
		m.kind = intra4x4
		if h.pps.transform8x8 && c.bin(ctxTransform8+m.beside(func(n *mbInfo) bool { return n.t8 != 0 })) == 1 {
			m.kind, m.t8 = intra8x8, true
		}
		m.fillModes()
		step := 1
		if m.t8 {
			step = 4
		}
		for i := 0; i < 16; i += step {
			rem := -1
			if c.bin(ctxPrevMode) == 0 {
				rem = c.bin(ctxRemMode)
				rem |= c.bin(ctxRemMode) << 1
				rem |= c.bin(ctxRemMode) << 2
			}
			m.setMode(int(cacheOf[i]), rem)
		}
	}
	if color {
		m.info.chromaMode = d.chromaModeCABAC()
	}
	if m.kind != intra16x16 {
		m.cbp = d.cbpCABAC(color)
	}
	m.fillCounts()
	if m.cbp > 0 || m.kind == intra16x16 {
		if !m.addQP(d.qpDelta()) {
			return false
		}
		d.residualCABAC(h)
	} else {
		m.delta = 0
	}
	return c.Taken() <= 8*(d.br.Len()+2)
}

// beside counts 1 for the left neighbour and 1 for the upper one, if is holds.
func (m *macroblock) beside(is func(*mbInfo) bool) (n int) {
	if m.a != nil && is(m.a) {
		n++
	}
	if m.b != nil && is(m.b) {
		n++
	}
	return n
}

// mbType reads mb_type of an I slice, 9.3.2.5.
func (d *Decoder) mbType() (t int, pcm bool) {
	m, c := &d.mb, &d.cabac
	if c.bin(ctxMBType+m.beside(func(n *mbInfo) bool { return n.kind >= intra16x16 })) == 0 {
		return 0, false
	}
	if c.Terminate() {
		return 25, true
	}
	t = 1 + 12*c.bin(ctxMBType+3)
	if c.bin(ctxMBType+4) == 1 {
		t += 4 + 4*c.bin(ctxMBType+5)
	}
	t += 2 * c.bin(ctxMBType+6)
	return t + c.bin(ctxMBType+7), false
}

func (d *Decoder) pcmCABAC(color bool) bool {
	m, c := &d.mb, &d.cabac
	m.beginPCM()
	n := 384
	if !color {
		n = 256
	}
	from := c.NextByte()
	if from+n > d.br.Len() {
		return false
	}
	copy(m.pcm[:n], d.br.Data[from:])
	c.Start(d.br.Data, from+n)
	return true
}

// chromaModeCABAC reads intra_chroma_pred_mode.
func (d *Decoder) chromaModeCABAC() uint8 {
	c := &d.cabac
	if c.bin(ctxChromaMode+d.mb.beside(func(n *mbInfo) bool { return n.chromaMode != 0 })) == 0 {
		return 0
	}
	if c.bin(ctxChromaMode+3) == 0 {
		return 1
	}
	return 2 + uint8(c.bin(ctxChromaMode+3))
}

// cbpCABAC reads coded_block_pattern, 9.3.3.1.1.4. A block that is not coded
// counts; one that is not available does not.
func (d *Decoder) cbpCABAC(color bool) uint8 {
	m, c := &d.mb, &d.cabac
	a, b := 15, 15
	if m.a != nil {
		a = int(m.a.cbp)
	}
	if m.b != nil {
		b = int(m.b.cbp)
	}
	b0 := c.bin(ctxCBPLuma + 1 - a>>1&1 + 2*(1-b>>2&1))
	b1 := c.bin(ctxCBPLuma + 1 - b0 + 2*(1-b>>3&1))
	b2 := c.bin(ctxCBPLuma + 1 - a>>3&1 + 2*(1-b0))
	b3 := c.bin(ctxCBPLuma + 1 - b2 + 2*(1-b1))
	cbp := uint8(b0 | b1<<1 | b2<<2 | b3<<3)
	if !color {
		return cbp
	}
	a, b = 0, 0
	if m.a != nil {
		a = int(m.a.cbp >> 4)
	}
	if m.b != nil {
		b = int(m.b.cbp >> 4)
	}
	if c.bin(ctxCBPChroma+min(a, 1)+2*min(b, 1)) == 0 {
		return cbp
	}
	return cbp | 16<<c.bin(ctxCBPChroma+4+a>>1+b&2)
}

// qpDelta reads mb_qp_delta, 9.3.2.7.
func (d *Decoder) qpDelta() int {
	c := &d.cabac
	ctx := ctxQPDelta
	if d.mb.delta != 0 {
		ctx++
	}
	n := 0
	for c.bin(ctx) == 1 {
		ctx = ctxQPDelta + 2 + min(n, 1)
		if n++; n > 2*26 { // no delta is so large
			return n
		}
	}
	if n&1 == 1 {
		return (n + 1) / 2
	}
	return -n / 2
}

// residualCABAC is residual() of 7.3.5.3.
func (d *Decoder) residualCABAC(h *sliceHeader) {
	m, c := &d.mb, &d.cabac
	q := d.quant.m4[0][m.qp][:]
	if m.kind == intra16x16 {
		if c.bin(ctxCoded+4*catLumaDC+m.besideDC(1)) == 1 {
			m.info.dc |= 1
			m.dcCoded = true
			c.block(catLumaDC, zigzag4[:], unit[:], m.dc[:])
		}
	}
	for i := 0; i < 16; i++ {
		if m.cbp>>(i/4)&1 == 0 {
			i += 3
			continue
		}
		at := int(cacheOf[i])
		if m.t8 {
			m.count[i] = uint8(c.block(catLuma8, zigzag8[:], d.quant.m8[m.qp][:], m.coefs[16*i:][:64]))
			m.nz[at], m.nz[at+1], m.nz[at+8], m.nz[at+9] = 1, 1, 1, 1 // coded_block_flag is inferred
			i += 3
			continue
		}
		cat, scan := catLuma4, zigzag4[:]
		if m.kind == intra16x16 {
			cat, scan = catLumaAC, zigzag4[1:]
		}
		if c.bin(ctxCoded+4*cat+coded(m.nz[at-1], m.nz[at-8])) == 1 {
			m.count[i] = uint8(c.block(cat, scan, q, m.coefs[16*i:][:16]))
			m.nz[at] = m.count[i]
		}
	}
	if h.sps.chromaFormat == 1 && m.cbp>>4 > 0 {
		d.chromaCABAC(h)
	}
}

func (d *Decoder) chromaCABAC(h *sliceHeader) {
	m, c := &d.mb, &d.cabac
	for i := range 2 {
		if c.bin(ctxCoded+4*catChromaDC+m.besideDC(2<<i)) == 1 {
			m.info.dc |= 2 << i
			c.block(catChromaDC, scanDC[:], unit[:], m.chromaDC[i][:])
		}
	}
	if m.cbp>>4 == 1 {
		return
	}
	for i := range 2 {
		q := d.quant.m4[1+i][h.chromaQP(i, m.qp)][:]
		nz := &m.nzChroma[i]
		for k := range 4 {
			at := 9 + k&1 + k>>1*8
			if c.bin(ctxCoded+4*catChromaAC+coded(nz[at-1], nz[at-8])) == 1 {
				nz[at] = uint8(c.block(catChromaAC, zigzag4[1:], q, m.chroma[i][16*k:][:16]))
			}
		}
	}
}

// coded is ctxIdxInc of coded_block_flag by both neighbours, 9.3.3.1.1.9.
func coded(a, b uint8) (n int) {
	if a > 0 {
		n = 1
	}
	if b > 0 {
		n += 2
	}
	return n
}

// besideDC is coded for the DC blocks.
func (m *macroblock) besideDC(bit uint8) int {
	a, b := bit, bit
	if m.a != nil {
		a &= m.a.dc
	}
	if m.b != nil {
		b &= m.b.dc
	}
	return coded(a, b)
}
