package h264

import "math/bits"

// intraCBP is codeNum to coded_block_pattern for intra macroblocks: of 4:2:0,
// Table 9-4 (a), and of monochrome, (b).
var (
	intraCBP = [48]uint8{
		47, 31, 15, 0, 23, 27, 29, 30, 7, 11, 13, 14, 39, 43, 45, 46,
		16, 3, 5, 10, 12, 19, 21, 26, 28, 35, 37, 42, 44, 1, 2, 4,
		8, 17, 18, 20, 24, 6, 9, 22, 25, 32, 33, 34, 36, 40, 38, 41,
	}
	intraCBPMono = [16]uint8{15, 0, 7, 11, 13, 14, 3, 5, 10, 12, 1, 2, 4, 8, 6, 9}
)

// parseCAVLC is macroblock_layer() of 7.3.5 with entropy_coding_mode_flag 0.
func (d *Decoder) parseCAVLC(h *sliceHeader) bool {
	m, r := &d.mb, &d.br
	color := h.sps.chromaFormat == 1
	m.info.dc, m.info.chromaMode, m.t8 = 0, 0, false
	t := r.UE()
	switch {
	case t == 0:
		m.kind = intra4x4
		if h.pps.transform8x8 && r.Flag() {
			m.kind, m.t8 = intra8x8, true
		}
		m.fillModes()
		step := 1
		if m.t8 {
			step = 4
		}
		for i := 0; i < 16; i += step {
			rem := -1
			if !r.Flag() {
				rem = int(r.U(3))
			}
			m.setMode(int(cacheOf[i]), rem)
		}
	case t <= 24:
		m.setType16(int(t))
		if !color && m.cbp > 15 {
			return false
		}
	case t == 25:
		return d.pcmCAVLC(color)
	default:
		return false
	}
	if color {
		mode := r.UE()
		if mode > 3 {
			return false
		}
		m.info.chromaMode = uint8(mode)
	}
	if m.kind != intra16x16 {
		n := r.UE()
		switch {
		case color && n < 48:
			m.cbp = intraCBP[n]
		case !color && n < 16:
			m.cbp = intraCBPMono[n]
		default:
			return false
		}
	}
	m.fillCounts()
	if m.cbp > 0 || m.kind == intra16x16 {
		if !m.addQP(r.SE()) || !d.residualCAVLC(h) {
			return false
		}
	}
	return !r.Overrun()
}

func (d *Decoder) pcmCAVLC(color bool) bool {
	m, r := &d.mb, &d.br
	m.beginPCM()
	from, n := r.Align(), 384
	if !color {
		n = 256
	}
	r.Skip(8 * n)
	if r.Overrun() {
		return false
	}
	copy(m.pcm[:n], r.Data[from:])
	return true
}

// residualCAVLC is residual() of 7.3.5.3.
func (d *Decoder) residualCAVLC(h *sliceHeader) bool {
	m, r := &d.mb, &d.br
	q := d.quant.m4[0][m.qp][:]
	scan := zigzag4[:]
	if m.kind == intra16x16 {
		n := r.block(d.vlc, r.token(d.vlc, nC(m.nz[8], m.nz[1])), scan, unit[:], m.dc[:])
		if n < 0 {
			return false
		}
		m.dcCoded = n > 0
		scan = scan[1:]
	}
	for i := range 16 {
		if m.cbp>>(i/4)&1 == 0 {
			continue
		}
		at := int(cacheOf[i])
		token := r.token(d.vlc, nC(m.nz[at-1], m.nz[at-8]))
		var n int
		if m.t8 {
			n = r.block(d.vlc, token, d.vlc.scan8[i&3][:], d.quant.m8[m.qp][:], m.coefs[16*(i&^3):][:64])
			m.count[i&^3] += uint8(n)
		} else {
			n = r.block(d.vlc, token, scan, q, m.coefs[16*i:][:16])
			m.count[i] = uint8(n)
		}
		if n < 0 {
			return false
		}
		m.nz[at] = uint8(n)
	}
	return h.sps.chromaFormat == 0 || d.chromaCAVLC(h)
}

func (d *Decoder) chromaCAVLC(h *sliceHeader) bool {
	m, r := &d.mb, &d.br
	if m.cbp>>4 == 0 {
		return true
	}
	for i := range 2 {
		if r.block(d.vlc, r.chromaToken(d.vlc), scanDC[:], unit[:], m.chromaDC[i][:]) < 0 {
			return false
		}
	}
	if m.cbp>>4 == 1 {
		return true
	}
	for i := range 2 {
		q := d.quant.m4[1+i][h.chromaQP(i, m.qp)][:]
		for k := range 4 {
			at := 9 + k&1 + k>>1*8
			nz := &m.nzChroma[i]
			n := r.block(d.vlc, r.token(d.vlc, nC(nz[at-1], nz[at-8])), zigzag4[1:], q, m.chroma[i][16*k:][:16])
			if n < 0 {
				return false
			}
			nz[at] = uint8(n)
		}
	}
	return true
}

// nC is how many coefficients to expect of a block, by its left and its upper
// neighbour, 9.2.1.
func nC(a, b uint8) int {
	n := int(a) + int(b)
	if n < away {
		n = (n + 1) >> 1
	}
	return n & 31
}

// token reads coeff_token as length<<8 | TotalCoeff<<2 | TrailingOnes, 0 for a
// word that is none.
func (r *bitReader) token(v *vlcTables, nC int) uint16 {
	w := r.Peek()
	if nC >= 8 { // six bits, Table 9-5's last but two columns
		r.Pos += 6
		if w >>= 26; w == 3 {
			return 6 << 8
		} else if w&3 > w>>2+1 {
			return 0
		}
		return uint16(6<<8 | (w>>2+1)<<2 | w&3)
	}
	table := &v.tokens[0]
	switch {
	case nC >= 4:
		table = &v.tokens[2]
	case nC >= 2:
		table = &v.tokens[1]
	}
	t := table[tokenIndex(w)]
	r.Pos += int(t >> 8)
	return t
}

// chromaToken is token for chroma DC blocks.
func (r *bitReader) chromaToken(v *vlcTables) uint16 {
	t := v.tokens[3][tokenIndex(r.Peek())]
	r.Pos += int(t >> 8)
	return t
}

// tokenIndex packs leading zeros and the three bits behind the first one.
func tokenIndex(w uint32) int {
	z := bits.LeadingZeros32(w | 1<<16)
	return (z<<3 | int(w<<(z+1)>>29)) & 127
}

// block reads what follows token of residual_block_cavlc(), 7.3.5.3.2 and 9.2,
// and puts the dequantised coefficients where scan says. It returns how many
// there are, or a number below 0 when the data is broken.
func (r *bitReader) block(v *vlcTables, token uint16, scan []uint8, q, dst []int32) int {
	if token == 0 {
		return -1
	}
	total, ones := int(token>>2&31), int(token&3)
	if total == 0 {
		return 0
	}
	if total > len(scan) {
		return -1
	}
	var levels [16]int32
	if !r.levels(&levels, total, ones) {
		return -1
	}
	left := 0
	if total < len(scan) {
		var e uint8
		if len(scan) == 4 {
			e = v.zerosChroma[total-1][r.Peek()>>29]
		} else {
			e = v.zeros[total-1][r.Peek()>>23]
		}
		if e == 0 {
			return -1
		}
		r.Pos += int(e >> 4)
		left = int(e & 15)
	}
	at := left + total - 1
	if at >= len(scan) {
		return -1
	}
	for i := 0; ; i++ {
		p := scan[at]
		dst[p] = (levels[i&15]*q[p] + 32) >> 6
		if i == total-1 {
			return total
		}
		run := 0
		if left > 0 {
			run = r.run(v, left)
		}
		if left -= run; left < 0 {
			return -1
		}
		at -= 1 + run
	}
}

// levels reads the levels of a block, from the highest frequency down, 9.2.2.
func (r *bitReader) levels(levels *[16]int32, total, ones int) bool {
	w := r.Peek()
	for i := range ones {
		levels[i] = 1 - int32(w>>(31-i)&1)<<1
	}
	r.Pos += ones
	suffix := 0
	if total > 10 && ones < 3 {
		suffix = 1
	}
	for i := ones; i < total; i++ {
		w = r.Peek()
		prefix := bits.LeadingZeros32(w)
		if prefix > 15+11 { // no level needs more
			return false
		}
		r.Pos += prefix + 1
		n, more := int32(min(prefix, 15))<<suffix, suffix // levelCode, levelSuffixSize
		switch {
		case prefix >= 15:
			more = prefix - 3
		case prefix == 14 && suffix == 0:
			more = 4
		}
		n += int32(r.U(more))
		if prefix >= 15 && suffix == 0 {
			n += 15
		}
		if prefix >= 16 {
			n += 1<<(prefix-3) - 4096
		}
		if i == ones && ones < 3 {
			n += 2
		}
		value := (n + 2) >> 1
		if n&1 == 1 {
			value = (-n - 1) >> 1
		}
		levels[i&15] = value
		if suffix == 0 {
			suffix = 1
		}
		if abs := max(value, -value); abs > 3<<(suffix-1) && suffix < 6 {
			suffix++
		}
	}
	return true
}

// run reads run_before, Table 9-10.
func (r *bitReader) run(v *vlcTables, left int) int {
	w := r.Peek()
	if left <= 6 {
		e := v.runs[left-1][w>>29]
		r.Pos += int(e >> 4)
		return int(e & 15)
	}
	if top := int(w >> 29); top > 0 {
		r.Pos += 3
		return 7 - top
	}
	z := bits.LeadingZeros32(w)
	r.Pos += z + 1
	return z + 4
}
