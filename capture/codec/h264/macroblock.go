package h264

import (
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// mbKind is how a macroblock is predicted.
type mbKind uint8

const (
	intra4x4 mbKind = iota
	intra8x8
	intra16x16
	intraPCM
)

// mbInfo is what is remembered of a macroblock for its neighbours and for
// deblocking. Blocks are numbered row by row here.
type mbInfo struct {
	slice      uint32 // 1 + its number in Decoder.slices; 0: it did not come yet
	kind       mbKind
	qp         uint8 // QPY, as deblocking sees it
	cbp        uint8 // CodedBlockPatternLuma | CodedBlockPatternChroma<<4
	chromaMode uint8
	t8         uint8     // transform_size_8x8_flag
	dc         uint8     // which DC blocks are coded: 1 luma, 2 Cb, 4 Cr
	nz         [24]uint8 // coefficients of each 4x4 block: Y, Cb, Cr
	modes      [16]int8  // Intra4x4PredMode, or Intra8x8PredMode four times
}

// The caches of a macroblock and its surroundings are 8 wide: block (x, y) is
// at 8*(y+1) + x+1, with the left neighbours in front and the upper ones above.
const (
	cacheLuma   = 8 * 5
	cacheChroma = 8 * 3
)

// away marks a block that is not available. As a count of coefficients it is
// out of their range, yet not zero: what CABAC assumes of it (9.3.3.1.1.9).
const away = 64

// macroblock is the one being decoded.
type macroblock struct {
	x, y, addr int
	info       *mbInfo
	a, b, c, d *mbInfo // the left, upper, upper right and upper left one; nil when not available (6.4.9)

	kind   mbKind
	mode16 uint8
	cbp    uint8
	t8     bool
	qp     int // QPY
	delta  int // mb_qp_delta of the macroblock before

	nz       [cacheLuma]uint8
	nzChroma [2][cacheChroma]uint8
	modes    [cacheLuma]int8

	coefs  [16 * 16]int32 // dequantised, by block in coding order, rows of 4 or 8
	chroma [2][4 * 16]int32
	count  [16]uint8 // coefficients by block in coding order; with 8x8 blocks at every fourth
	dc     [16]int32 // of Intra_16x16, not dequantised, row by row

	dcCoded bool // some of dc are not 0
	pcm     [384]byte

	chromaDC [2][4]int32
}

// blockX and blockY place the luma blocks in coding order, 6.4.3.
var (
	blockX = [16]uint8{0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3}
	blockY = [16]uint8{0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3}
)

// cacheOf is where a luma block in coding order is in the caches.
var cacheOf = [16]uint8{9, 10, 17, 18, 11, 12, 19, 20, 25, 26, 33, 34, 27, 28, 35, 36}

// decodeSlice is slice_data(), 7.3.4.
func (d *Decoder) decodeSlice(ctx context.Context, h *sliceHeader) error {
	if h.sps.mbW != d.mbW || h.sps.mbH != d.mbH || h.firstMB >= d.total {
		return codec.Corrupt("an H.264 slice begins at macroblock %d of %d", h.firstMB, d.total)
	}
	d.slices = append(d.slices, sliceInfo{noDeblock: h.noDeblock, alpha: h.alpha, beta: h.beta, chromaOffset: h.pps.chromaOffset})
	d.quant.set(&h.pps.matrix)
	m := &d.mb
	m.qp, m.delta = h.qp, 0
	clear(m.coefs[:]) // a slice that broke off leaves some
	clear(m.chroma[0][:])
	clear(m.chroma[1][:])
	m.dc, m.chromaDC = [16]int32{}, [2][4]int32{}
	if h.pps.cabac {
		d.cabac.Start(d.br.Data, d.br.Align())
		d.cabac.initContexts(h.qp)
	} else if d.vlc == nil {
		d.vlc = newVLCTables()
	}
	for addr := h.firstMB; ; addr++ {
		if addr >= d.total {
			return codec.Corrupt("an H.264 slice goes on behind the picture")
		}
		if !d.reach(addr) {
			return codec.Corrupt("an H.264 slice begins at macroblock %d, and %d of %d came before it", addr, d.total-d.left, d.total)
		}
		if !d.enter(addr) {
			return codec.Corrupt("two H.264 slices bring macroblock %d", addr)
		}
		if m.x == 0 || addr == h.firstMB {
			if err := ctxError(ctx); err != nil {
				return err
			}
		}
		var ok bool
		if h.pps.cabac {
			ok = d.parseCABAC(h)
		} else {
			ok = d.parseCAVLC(h)
		}
		if !ok || !d.reconstruct(h) {
			m.info.slice = 0
			d.left++
			return codec.Corrupt("the H.264 picture is damaged at macroblock %d", addr)
		}
		d.leave()
		if h.pps.cabac {
			if d.cabac.Terminate() {
				return nil
			}
		} else if !d.br.More() {
			return nil
		}
	}
}

// enter looks at the surroundings of macroblock addr. It says false when that
// was decoded before.
func (d *Decoder) enter(addr int) bool {
	m := &d.mb
	m.addr, m.x, m.y = addr, addr%d.mbW, addr/d.mbW
	m.info = &d.mbs[addr]
	if m.info.slice != 0 {
		return false
	}
	id := uint32(len(d.slices))
	m.info.slice = id
	d.left--
	m.a, m.b, m.c, m.d = nil, nil, nil, nil
	if m.x > 0 {
		m.a = d.neighbour(addr-1, id)
		m.d = d.neighbour(addr-d.mbW-1, id)
	}
	m.b = d.neighbour(addr-d.mbW, id)
	if m.x < d.mbW-1 {
		m.c = d.neighbour(addr-d.mbW+1, id)
	}
	return true
}

func (d *Decoder) neighbour(addr int, slice uint32) *mbInfo {
	if addr < 0 || d.mbs[addr].slice != slice {
		return nil
	}
	return &d.mbs[addr]
}

// fillCounts loads the caches of coefficient counts.
func (m *macroblock) fillCounts() {
	m.count = [16]uint8{}
	m.dcCoded = false
	clear(m.nz[8:])
	clear(m.nzChroma[0][8:])
	clear(m.nzChroma[1][8:])
	if m.b != nil {
		copy(m.nz[1:5], m.b.nz[12:16])
		copy(m.nzChroma[0][1:3], m.b.nz[18:20])
		copy(m.nzChroma[1][1:3], m.b.nz[22:24])
	} else {
		for i := 1; i < 5; i++ {
			m.nz[i] = away
		}
		for i := range m.nzChroma {
			m.nzChroma[i][1], m.nzChroma[i][2] = away, away
		}
	}
	if n := m.a; n != nil {
		m.nz[8], m.nz[16], m.nz[24], m.nz[32] = n.nz[3], n.nz[7], n.nz[11], n.nz[15]
		m.nzChroma[0][8], m.nzChroma[0][16] = n.nz[17], n.nz[19]
		m.nzChroma[1][8], m.nzChroma[1][16] = n.nz[21], n.nz[23]
	} else {
		m.nz[8], m.nz[16], m.nz[24], m.nz[32] = away, away, away, away
		for i := range m.nzChroma {
			m.nzChroma[i][8], m.nzChroma[i][16] = away, away
		}
	}
}

// Prediction mode numbers that are no modes.
const (
	modeDC   = 2  // Intra_4x4_DC, Table 8-2, and Intra_8x8_DC, Table 8-3
	modeAway = -1 // of a block that is not available
)

// fillModes loads the cache of prediction modes. Blocks of other kinds count as
// DC (8.3.1.1).
func (m *macroblock) fillModes() {
	if m.b != nil {
		copy(m.modes[1:5], m.b.modes[12:16])
	} else {
		m.modes[1], m.modes[2], m.modes[3], m.modes[4] = modeAway, modeAway, modeAway, modeAway
	}
	if n := m.a; n != nil {
		m.modes[8], m.modes[16], m.modes[24], m.modes[32] = n.modes[3], n.modes[7], n.modes[11], n.modes[15]
	} else {
		m.modes[8], m.modes[16], m.modes[24], m.modes[32] = modeAway, modeAway, modeAway, modeAway
	}
}

// predictedMode is predIntra4x4PredMode, and predIntra8x8PredMode, of the block
// at cache position at.
func (m *macroblock) predictedMode(at int) int8 {
	if mode := min(m.modes[at-1], m.modes[at-8]); mode >= 0 {
		return mode
	}
	return modeDC
}

// setMode stores the mode of the block at cache position at, or of the four
// that an 8x8 block covers. rem is rem_intra4x4_pred_mode, or below 0 for the
// predicted mode.
func (m *macroblock) setMode(at int, rem int) {
	mode := m.predictedMode(at)
	if rem >= 0 {
		if int8(rem) >= mode {
			rem++
		}
		mode = int8(rem)
	}
	m.modes[at] = mode
	if m.t8 {
		m.modes[at+1], m.modes[at+8], m.modes[at+9] = mode, mode, mode
	}
}

// addQP applies mb_qp_delta, (7-37).
func (m *macroblock) addQP(delta int) bool {
	m.delta = delta
	if delta < -26 || delta > 25 {
		return false
	}
	m.qp = (m.qp + delta + 52) % 52
	return true
}

// beginPCM sets what others see of an I_PCM macroblock.
func (m *macroblock) beginPCM() {
	m.kind, m.cbp, m.t8, m.delta = intraPCM, 0x2f, false, 0
	m.info.dc, m.info.chromaMode = 7, 0
}

// leave stores what the neighbours will ask for.
func (d *Decoder) leave() {
	m := &d.mb
	n := m.info
	n.kind, n.cbp, n.qp, n.t8 = m.kind, m.cbp, uint8(m.qp), 0
	if m.t8 {
		n.t8 = 1
	}
	if m.kind == intra4x4 || m.kind == intra8x8 {
		for y := range 4 {
			copy(n.modes[4*y:4*y+4], m.modes[8*y+9:])
		}
	} else {
		n.modes = [16]int8{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}
	}
	if m.kind == intraPCM {
		n.qp = 0 // 8.7.2.2
		for i := range n.nz {
			n.nz[i] = 16
		}
		return
	}
	for y := range 4 {
		copy(n.nz[4*y:4*y+4], m.nz[8*y+9:])
	}
	for i := range m.nzChroma {
		for y := range 2 {
			copy(n.nz[16+4*i+2*y:16+4*i+2*y+2], m.nzChroma[i][8*y+9:])
		}
	}
}

// setType16 takes apart an mb_type from 1 to 24, Table 7-11.
func (m *macroblock) setType16(t int) {
	m.kind = intra16x16
	m.mode16 = uint8((t - 1) & 3)
	m.cbp = uint8((t-1)/4%3) << 4
	if t >= 13 {
		m.cbp |= 15
	}
}
