package h265

import (
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec/cabac"
)

// walk follows the slice_segment_data() of one slice, 7.3.8.
type walk struct {
	slice
	cabac.Engine
	state  contexts
	sync   contexts // TableStateIdxWpp
	data   []byte   // the RBSP, with padding behind
	end    int      // where rbsp_stop_one_bit stands, in bits
	broken bool

	depths []uint8 // CtDepth, by smallest coding block
	modes  []uint8 // IntraPredModeY, by block of 4x4
	across int     // blocks of 4x4 in a row

	at          int // CtbAddrInRs
	qpCoded     bool
	transBypass bool
	chromaMode  int
	csb         [8 * 8]bool // coded_sub_block_flag of a transform block
}

// over says that more was taken than there is. The engine is ahead of what it
// decodes by nine bits, of which the last may be the one that ends the data.
func (w *walk) over() bool { return w.Taken() > w.end+1 }

// begin makes ready for a slice whose header r has read.
func (w *walk) begin(s slice, r *bitReader) {
	w.slice, w.data, w.end = s, r.Data, r.End
	w.Start(r.Data, r.Align())
	w.broken = false
	w.across = s.width >> 2
	w.modes = grown(w.modes, w.across*(s.height>>2))
	w.depths = grown(w.depths, (s.width>>s.log2MinCB)*(s.height>>s.log2MinCB))
}

// grown returns memory for n bytes. Nothing of a slice before is looked at: what
// is outside of the slice is not available, 6.4.1.
func grown(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// follow returns how many coding tree units of the slice came: all of them, if it
// ends as it must. The error is that of ctx.
func (w *walk) follow(ctx context.Context) (int, error) {
	w.state.init(w.qp)
	for w.at = w.address; w.at < w.ctbs; {
		column := w.at % w.ctbWidth
		if column == 0 {
			if err := ctx.Err(); err != nil {
				return 0, timeout(ctx)
			}
		}
		w.unit(column<<w.log2CTB, w.at/w.ctbWidth<<w.log2CTB)
		if w.broken || w.over() {
			return w.at - w.address, nil
		}
		if w.rowSync && column == 1 {
			w.sync = w.state
		}
		end := w.Terminate()
		if w.over() {
			return w.at - w.address, nil
		}
		if end {
			// What is behind it is let be: that the slice ends where the next one
			// begins is what counts, and some encoders fill up their units.
			if !w.aligned() {
				return w.at - w.address, nil
			}
			return w.at + 1 - w.address, nil
		}
		if w.at++; w.rowSync && w.at%w.ctbWidth == 0 {
			if !w.Terminate() || !w.next() {
				return w.at - 1 - w.address, nil
			}
			// The unit above and to the right, if it is of this slice.
			if w.ctbWidth > 1 && w.at-w.ctbWidth+1 >= w.address {
				w.state = w.sync
			} else {
				w.state.init(w.qp)
			}
		}
	}
	return max(w.at-1-w.address, 0), nil // it should have ended with the picture
}

// available says whether the block that holds a sample was decoded before, in this
// slice: for the samples left of and above a block of it, 6.4.1.
func (w *walk) available(x, y int) bool {
	return x >= 0 && y >= 0 && y>>w.log2CTB*w.ctbWidth+x>>w.log2CTB >= w.address
}

// unit is coding_tree_unit(), 7.3.8.2.
func (w *walk) unit(x, y int) {
	if w.saoLuma || w.saoChroma {
		w.offsets(x > 0 && w.at-1 >= w.address, y > 0 && w.at-w.ctbWidth >= w.address)
	}
	w.quadtree(x, y, w.log2CTB, 0)
}

// offsets is sao(), 7.3.8.3.
func (w *walk) offsets(left, above bool) {
	if left && w.bin(ctxSAOMerge) == 1 || above && w.bin(ctxSAOMerge) == 1 {
		return
	}
	kind := 0
	for c := range 3 {
		if c == 0 && !w.saoLuma || c > 0 && !w.saoChroma {
			continue
		}
		if c < 2 {
			if kind = w.bin(ctxSAOType); kind == 1 {
				kind += w.Bypass()
			}
		}
		if kind == 0 {
			continue
		}
		most := 1<<(min(w.bitDepth[min(c, 1)], 10)-5) - 1
		nonzero := 0
		for range 4 {
			n := 0
			for n < most && w.Bypass() == 1 {
				n++
			}
			if n > 0 {
				nonzero++
			}
		}
		switch {
		case kind == 1: // bands: the signs, and sao_band_position
			w.Bypasses(nonzero + 5)
		case c < 2: // edges: their class
			w.Bypasses(2)
		}
	}
}

// quadtree is coding_quadtree(), 7.3.8.4.
func (w *walk) quadtree(x, y, log2, depth int) {
	size := 1 << log2
	split := log2 > w.log2MinCB
	if split && x+size <= w.width && y+size <= w.height {
		inc := 0
		if w.available(x-1, y) && int(w.depths[w.block(x-1, y)]) > depth {
			inc++
		}
		if w.available(x, y-1) && int(w.depths[w.block(x, y-1)]) > depth {
			inc++
		}
		split = w.bin(ctxSplitCU+inc) == 1
	}
	if w.qpDelta && log2 >= w.log2CTB-w.qpDeltaDepth {
		w.qpCoded = false
	}
	if !split {
		w.codingUnit(x, y, log2, depth)
		return
	}
	for i := range 4 {
		cx, cy := x+i&1<<(log2-1), y+i>>1<<(log2-1)
		if cx < w.width && cy < w.height && !w.broken {
			w.quadtree(cx, cy, log2-1, depth+1)
		}
	}
}

func (w *walk) block(x, y int) int {
	return y>>w.log2MinCB*(w.width>>w.log2MinCB) + x>>w.log2MinCB
}

// codingUnit is coding_unit(), 7.3.8.5, of an I slice.
func (w *walk) codingUnit(x, y, log2, depth int) {
	if w.over() {
		w.broken = true // soon enough: what follows is made up
		return
	}
	for v := y; v < y+1<<log2; v += 1 << w.log2MinCB {
		for u := x; u < x+1<<log2; u += 1 << w.log2MinCB {
			w.depths[w.block(u, v)] = uint8(depth)
		}
	}
	w.transBypass = w.transquantBypass && w.bin(ctxBypassFlag) == 1
	parts, log2Part := 1, log2
	if log2 == w.log2MinCB && w.bin(ctxPartMode) == 0 {
		parts, log2Part = 4, log2-1
	}
	var prev [4]int
	for i := range parts {
		prev[i] = w.bin(ctxPrevIntra)
	}
	luma := 0
	for i := range parts {
		px, py := x+i&1<<log2Part, y+i>>1<<log2Part
		mode := w.lumaMode(px, py, prev[i] == 1)
		w.setMode(px, py, log2Part, mode)
		if i == 0 {
			luma = mode
		}
	}
	w.chromaMode = luma
	if w.bin(ctxChromaMode) == 1 {
		w.chromaMode = [4]int{modePlanar, 26, 10, modeDC}[w.Bypasses(2)]
		if w.chromaMode == luma {
			w.chromaMode = 34
		}
	}
	w.transformTree(x, y, log2, 0, 0, tree{cb: true, cr: true, most: w.intraDepth + parts>>2, split: parts == 4})
}

const (
	modePlanar = 0
	modeDC     = 1
)

// lumaMode reads a prediction mode: 8.4.2.
func (w *walk) lumaMode(x, y int, probable bool) int {
	a, b := modeDC, modeDC
	if w.available(x-1, y) {
		a = int(w.modes[y>>2*w.across+(x-1)>>2])
	}
	if y&(1<<w.log2CTB-1) != 0 { // not from above the coding tree block
		b = int(w.modes[(y-1)>>2*w.across+x>>2])
	}
	var c [3]int
	switch {
	case a == b && a < 2:
		c = [3]int{modePlanar, modeDC, 26}
	case a == b:
		c = [3]int{a, 2 + (a+29)%32, 2 + (a-2+1)%32}
	default:
		c = [3]int{a, b, modePlanar}
		if a == modePlanar || b == modePlanar {
			if c[2] = modeDC; a == modeDC || b == modeDC {
				c[2] = 26
			}
		}
	}
	if probable {
		i := 0
		for i < 2 && w.Bypass() == 1 {
			i++
		}
		return c[i]
	}
	mode := w.Bypasses(5)
	if c[0] > c[1] {
		c[0], c[1] = c[1], c[0]
	}
	if c[0] > c[2] {
		c[0], c[2] = c[2], c[0]
	}
	if c[1] > c[2] {
		c[1], c[2] = c[2], c[1]
	}
	for _, m := range c {
		if mode >= m {
			mode++
		}
	}
	return mode
}

func (w *walk) setMode(x, y, log2, mode int) {
	n := 1 << (log2 - 2)
	for v := range n {
		row := w.modes[(y>>2+v)*w.across+x>>2:]
		for u := range n {
			row[u] = uint8(mode)
		}
	}
}

// tree is what a transform tree hands down.
type tree struct {
	cb, cr bool // cbf_cb and cbf_cr of the parent
	most   int  // MaxTrafoDepth
	split  bool // IntraSplitFlag
}

// transformTree is transform_tree(), 7.3.8.8; part is blkIdx.
func (w *walk) transformTree(x, y, log2, depth, part int, t tree) {
	if w.broken {
		return
	}
	split := log2 > w.log2MaxTB || t.split && depth == 0
	if !split && log2 > w.log2MinTB && depth < t.most {
		split = w.bin(ctxSplitTU+5-log2) == 1
	}
	if log2 > 2 { // blocks of 4x4 have the color of their parent
		t.cb = t.cb && w.bin(ctxCbfChroma+depth) == 1
		t.cr = t.cr && w.bin(ctxCbfChroma+depth) == 1
	}
	if split {
		for i := range 4 {
			w.transformTree(x+i&1<<(log2-1), y+i>>1<<(log2-1), log2-1, depth+1, i, t)
		}
		return
	}
	first := 0
	if depth == 0 {
		first = 1
	}
	luma := w.bin(ctxCbfLuma+first) == 1
	if !luma && !t.cb && !t.cr {
		return
	}
	if w.qpDelta && !w.qpCoded {
		w.qpCoded = true
		w.delta()
	}
	if luma {
		w.residual(log2, 0, w.scan(log2 <= 3, int(w.modes[y>>2*w.across+x>>2])))
	}
	if log2 > 2 || part == 3 {
		log2 = max(log2-1, 2)
		scan := w.scan(log2 == 2, w.chromaMode)
		if t.cb {
			w.residual(log2, 1, scan)
		}
		if t.cr {
			w.residual(log2, 2, scan)
		}
	}
}

// scan is scanIdx, 7.4.9.11.
func (w *walk) scan(small bool, mode int) int {
	switch {
	case small && mode >= 6 && mode <= 14:
		return scanVertical
	case small && mode >= 22 && mode <= 30:
		return scanHorizontal
	}
	return scanDiagonal
}

// delta reads cu_qp_delta_abs and its sign, 7.3.8.14.
func (w *walk) delta() {
	v := 0
	for v < 5 && w.bin(ctxQPDelta+min(v, 1)) == 1 {
		v++
	}
	if v == 5 { // a suffix of EG0
		k := 0
		for k < 8 && w.Bypass() == 1 {
			v += 1 << k
			k++
		}
		v += w.Bypasses(k)
	}
	if v > 0 {
		sign := w.Bypass()
		offset := 3 * (w.bitDepth[0] - 8) // QpBdOffset / 2
		if v > 25+offset+sign {
			w.broken = true
		}
	}
}
