package h264

import "encoding/binary"

// canvas is where a macroblock is predicted and completed, with the samples
// around it: rows of 32, the row above first, the column to the left in front,
// and room above and to the right for 8 samples of the next macroblock.
type canvas [17 * across]uint8

const (
	across = 32
	origin = across + 8 // of the macroblock
)

// around says which samples around a block are available (6.4.11).
type around struct{ left, top, corner, right bool }

// predict4 is 8.3.1.2: it predicts the 4x4 block at w[at]. It says false for a
// mode that needs samples that are not there.
func (w *canvas) predict4(at int, mode int8, has around) bool {
	top := w[at-across-1:][:9:9] // from the corner on
	var q, l0, l1, l2, l3 uint32
	if has.left {
		l0, l1, l2, l3 = uint32(w[at-1]), uint32(w[at+across-1]), uint32(w[at+2*across-1]), uint32(w[at+3*across-1])
	}
	switch mode {
	case 0: // vertical
		r := binary.LittleEndian.Uint32(top[1:])
		w.rows4(at, r, r, r, r)
		return has.top
	case 1: // horizontal
		const each = 0x01010101
		w.rows4(at, l0*each, l1*each, l2*each, l3*each)
		return has.left
	case modeDC:
		sum, n := uint32(0), uint32(0)
		if has.top {
			sum, n = uint32(top[1])+uint32(top[2])+uint32(top[3])+uint32(top[4]), 1
		}
		if has.left {
			sum, n = sum+l0+l1+l2+l3, n+1
		}
		v := uint32(128)
		if n > 0 {
			v = (sum + 2*n) >> (n + 1)
		}
		v *= 0x01010101
		w.rows4(at, v, v, v, v)
		return true
	case 3, 7:
		if !has.top {
			return false
		}
		t0, t1, t2, t3 := uint32(top[1]), uint32(top[2]), uint32(top[3]), uint32(top[4])
		t4, t5, t6, t7 := t3, t3, t3, t3
		if has.right {
			t4, t5, t6, t7 = uint32(top[5]), uint32(top[6]), uint32(top[7]), uint32(top[8])
		}
		if mode == 3 { // diagonal down left
			z := uint64(pack(mean3(t0, t1, t2), mean3(t1, t2, t3), mean3(t2, t3, t4), mean3(t3, t4, t5)))
			z |= uint64(pack(mean3(t4, t5, t6), mean3(t5, t6, t7), mean3(t6, t7, t7), 0)) << 32
			w.rows4(at, uint32(z), uint32(z>>8), uint32(z>>16), uint32(z>>24))
			return true
		}
		a := uint64(pack(mean2(t0, t1), mean2(t1, t2), mean2(t2, t3), mean2(t3, t4))) | uint64(mean2(t4, t5))<<32
		f := uint64(pack(mean3(t0, t1, t2), mean3(t1, t2, t3), mean3(t2, t3, t4), mean3(t3, t4, t5))) | uint64(mean3(t4, t5, t6))<<32
		w.rows4(at, uint32(a), uint32(f), uint32(a>>8), uint32(f>>8))
		return true
	case 4, 5, 6:
		if !has.top || !has.left || !has.corner {
			return false
		}
		q = uint32(top[0])
		t0, t1, t2, t3 := uint32(top[1]), uint32(top[2]), uint32(top[3]), uint32(top[4])
		z0, z1, z2, z3 := mean3(l3, l2, l1), mean3(l2, l1, l0), mean3(l1, l0, q), mean3(l0, q, t0)
		z4, z5, z6 := mean3(q, t0, t1), mean3(t0, t1, t2), mean3(t1, t2, t3)
		switch mode {
		case 4: // diagonal down right
			z := uint64(pack(z0, z1, z2, z3)) | uint64(pack(z4, z5, z6, 0))<<32
			w.rows4(at, uint32(z>>24), uint32(z>>16), uint32(z>>8), uint32(z))
		case 5: // vertical right
			a0, a1, a2, a3 := mean2(q, t0), mean2(t0, t1), mean2(t1, t2), mean2(t2, t3)
			w.rows4(at, pack(a0, a1, a2, a3), pack(z3, z4, z5, z6), pack(z2, a0, a1, a2), pack(z1, z3, z4, z5))
		case 6: // horizontal down
			b0, b1, b2, b3 := mean2(q, l0), mean2(l0, l1), mean2(l1, l2), mean2(l2, l3)
			w.rows4(at, pack(b0, z3, z4, z5), pack(b1, z2, b0, z3), pack(b2, z1, b1, z2), pack(b3, z0, b2, z1))
		}
		return true
	case 8: // horizontal up
		u := uint64(pack(mean2(l0, l1), mean3(l0, l1, l2), mean2(l1, l2), mean3(l1, l2, l3)))
		u |= uint64(pack(mean2(l2, l3), mean3(l2, l3, l3), l3, l3)) << 32
		w.rows4(at, uint32(u), uint32(u>>16), uint32(u>>32), l3*0x01010101)
		return has.left
	}
	return false
}

func (w *canvas) rows4(at int, r0, r1, r2, r3 uint32) {
	p := w[at:][: 3*across+4 : 3*across+4]
	binary.LittleEndian.PutUint32(p, r0)
	binary.LittleEndian.PutUint32(p[across:], r1)
	binary.LittleEndian.PutUint32(p[2*across:], r2)
	binary.LittleEndian.PutUint32(p[3*across:], r3)
}

func mean2(a, b uint32) uint32    { return (a + b + 1) >> 1 }
func mean3(a, b, c uint32) uint32 { return (a + 2*b + c + 2) >> 2 }

func pack(a, b, c, d uint32) uint32 { return a | b<<8 | c<<16 | d<<24 }

// edge8 holds the filtered samples around an 8x8 block, 8.3.2.2.1: from the
// lowest one at the left up, the corner at 8, and to the right.
type edge8 [25]uint32

// filter8 fills e from around w[at].
func (w *canvas) filter8(at int, has around) (e edge8) {
	var p edge8
	if has.left {
		for i := range 8 {
			p[7-i] = uint32(w[at+i*across-1])
		}
	}
	p[8] = uint32(w[at-across-1])
	if has.top {
		n := 8
		if has.right {
			n = 16
		}
		samples := w[at-across:][:16]
		for i := 9; i < len(p); i++ {
			p[i] = uint32(samples[min(i-9, n-1)])
		}
	}
	for i := 1; i < len(p)-1; i++ {
		e[i] = mean3(p[i-1], p[i], p[i+1])
	}
	e[0] = mean3(p[0], p[0], p[1])
	e[24] = mean3(p[23], p[24], p[24])
	if !has.corner {
		e[7] = mean3(p[6], p[7], p[7])
		e[9] = mean3(p[9], p[9], p[10])
		return e
	}
	switch {
	case !has.top:
		e[8] = mean3(p[7], p[8], p[8])
	case !has.left:
		e[8] = mean3(p[8], p[8], p[9])
	}
	return e
}

// predict8 is 8.3.2.2: it predicts the 8x8 block at w[at].
func (w *canvas) predict8(at int, mode int8, has around) bool {
	all := has.left && has.top && has.corner
	switch mode {
	case 0, 3, 7:
		if !has.top {
			return false
		}
	case 1, 8:
		if !has.left {
			return false
		}
	case 4, 5, 6:
		if !all {
			return false
		}
	}
	e := w.filter8(at, has)
	l := func(i int) uint32 { return e[7-i] }
	t := e[9:]
	// Each mode is one or two lines of samples that the rows are cut from.
	var even, odd [22]uint8
	var from, step int
	two := false
	switch mode {
	case 0:
		for i := range 8 {
			even[i] = uint8(t[i])
		}
	case 1:
		for y := range 8 {
			w.fill8(at+y*across, l(y))
		}
		return true
	case modeDC:
		sum, n := uint32(0), uint32(0)
		for i := range 8 {
			if has.top {
				sum += t[i]
			}
			if has.left {
				sum += l(i)
			}
		}
		if has.top {
			n++
		}
		if has.left {
			n++
		}
		v := uint32(128)
		if n > 0 {
			v = (sum + 4*n) >> (n + 2)
		}
		for y := range 8 {
			w.fill8(at+y*across, v)
		}
		return true
	case 3: // diagonal down left
		for i := range 14 {
			even[i] = uint8(mean3(t[i], t[i+1], t[i+2]))
		}
		even[14] = uint8(mean3(t[14], t[15], t[15]))
		step = 1
	case 4: // diagonal down right
		for i := range 15 {
			even[i] = uint8(mean3(e[i], e[i+1], e[i+2]))
		}
		from, step = 7, -1
	case 5: // vertical right
		for i := range 3 {
			odd[i] = uint8(mean3(e[2*i+1], e[2*i+2], e[2*i+3]))
			even[i] = uint8(mean3(e[2*i+2], e[2*i+3], e[2*i+4]))
		}
		for i := range 8 {
			odd[3+i] = uint8(mean3(e[7+i], e[8+i], e[9+i]))
			even[3+i] = uint8(mean2(e[8+i], e[9+i]))
		}
		from, step, two = 3, -1, true
	case 6: // horizontal down
		for i := range 7 {
			even[2*i+1] = uint8(mean3(e[i], e[i+1], e[i+2]))
			even[15+i] = uint8(mean3(e[7+i], e[8+i], e[9+i]))
		}
		for i := range 8 {
			even[2*i] = uint8(mean2(e[i], e[i+1]))
		}
		from, step = 14, -2
	case 7: // vertical left
		for i := range 11 {
			even[i] = uint8(mean2(t[i], t[i+1]))
			odd[i] = uint8(mean3(t[i], t[i+1], t[i+2]))
		}
		step, two = 1, true
	case 8: // horizontal up
		for i := range 7 {
			even[2*i] = uint8(mean2(l(i), l(i+1)))
			even[2*i+1] = uint8(mean3(l(i), l(i+1), l(min(i+2, 7))))
		}
		for i := 14; i < 22; i++ {
			even[i] = uint8(l(7))
		}
		step = 2
	default:
		return false
	}
	for y := range 8 {
		switch {
		case !two:
			copy(w[at+y*across:][:8], even[from+y*step:])
		case y&1 == 0:
			copy(w[at+y*across:][:8], even[from+y/2*step:])
		default:
			copy(w[at+y*across:][:8], odd[from+y/2*step:])
		}
	}
	return true
}

// fill8 sets 8 samples.
func (w *canvas) fill8(at int, v uint32) {
	binary.LittleEndian.PutUint64(w[at:], uint64(v)*0x0101010101010101)
}

// The modes of whole macroblocks: Table 8-4 for luma, Table 8-5 for chroma.
const (
	wholeVertical = iota
	wholeHorizontal
	wholeDC
	wholePlane
)

// chromaModes turns intra_chroma_pred_mode into those of luma.
var chromaModes = [4]uint8{wholeDC, wholeHorizontal, wholeVertical, wholePlane}

// predictWhole predicts size x size samples, 8.3.3 and 8.3.4. The DC of chroma
// goes by its blocks.
func (w *canvas) predictWhole(mode uint8, size int, has around) bool {
	switch mode {
	case wholeVertical:
		if !has.top {
			return false
		}
		for x := 0; x < size; x += 8 {
			eight := binary.LittleEndian.Uint64(w[origin-across+x:])
			for y := range size {
				binary.LittleEndian.PutUint64(w[origin+y*across+x:], eight)
			}
		}
	case wholeHorizontal:
		if !has.left {
			return false
		}
		for y := range size {
			at := origin + y*across
			for x := 0; x < size; x += 8 {
				w.fill8(at+x, uint32(w[at-1]))
			}
		}
	case wholeDC:
		if size == 8 {
			w.chromaMeans(has)
			return true
		}
		sum, n := uint32(0), uint32(0)
		if has.top {
			sum, n = w.sum(origin-across, 1, 16), 1
		}
		if has.left {
			sum, n = sum+w.sum(origin-1, across, 16), n+1
		}
		v := uint32(128)
		if n > 0 {
			v = (sum + 8*n) >> (n + 3)
		}
		for y := range 16 {
			w.fill8(origin+y*across, v)
			w.fill8(origin+y*across+8, v)
		}
	default:
		if !has.left || !has.top || !has.corner {
			return false
		}
		w.plane(size)
	}
	return true
}

// sum adds n samples from w[at] on.
func (w *canvas) sum(at, step, n int) (s uint32) {
	for i := range n {
		s += uint32(w[at+i*step])
	}
	return s
}

// chromaMeans predicts each 4x4 chroma block from the samples beside it, 8.3.4.1 to 8.3.4.3.
func (w *canvas) chromaMeans(has around) {
	for i := range 4 {
		x, y := 4*(i&1), 4*(i>>1)
		top, left := has.top, has.left
		if x != y && top && left { // the upper right block goes by the top alone, the lower left one by the left
			top, left = y == 0, x == 0
		}
		sum, n := uint32(0), uint32(0)
		if top {
			sum, n = w.sum(origin-across+x, 1, 4), 1
		}
		if left {
			sum, n = sum+w.sum(origin+y*across-1, across, 4), n+1
		}
		v := uint32(128)
		if n > 0 {
			v = (sum + 2*n) >> (n + 1)
		}
		v *= 0x01010101
		w.rows4(origin+y*across+x, v, v, v, v)
	}
}

// plane is 8.3.3.4, and 8.3.4.4 for chroma of 4:2:0.
func (w *canvas) plane(size int) {
	half := size / 2
	h, v := int32(0), int32(0)
	for i := 1; i <= half; i++ {
		h += int32(i) * (int32(w[origin-across+half-1+i]) - int32(w[origin-across+half-1-i]))
		v += int32(i) * (int32(w[origin-1+(half-1+i)*across]) - int32(w[origin-1+(half-1-i)*across]))
	}
	k := int32(5)
	if size == 8 {
		k = 34
	}
	b, c := (k*h+32)>>6, (k*v+32)>>6
	a := 16 * (int32(w[origin-1+(size-1)*across]) + int32(w[origin-across+size-1]))
	line := a - int32(half-1)*(b+c) + 16
	for y := range size {
		s := line
		row := w[origin+y*across:][:size]
		for x := range row {
			row[x] = clip(s >> 5)
			s += b
		}
		line += c
	}
}
