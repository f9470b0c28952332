package jpeg

import "encoding/binary"

// block holds dequantised coefficients row by row, lowest frequency first.
type block [64]int32

// The constants of the accurate integer transform that libjpeg calls islow
// (Loeffler, Ligtenberg, Moschytz), in units of 1/8192. With the same roundings
// its samples come out the same.
const (
	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

func clamp(v int32) uint64 {
	if uint32(v) > 255 {
		if v < 0 {
			return 0
		}
		return 255
	}
	return uint64(v)
}

// level turns a lowest coefficient alone into the sample that it means.
func level(dc int32) byte { return byte(clamp((dc+4)>>3 + 128)) }

// flat writes a block of side n, 1, 2, 4 or 8, whose samples are all equal.
func flat(dc int32, n int, dst []byte, stride int) {
	all := uint64(level(dc)) * 0x0101010101010101
	switch n {
	case 8:
		for y := range 8 {
			binary.LittleEndian.PutUint64(dst[y*stride:], all)
		}
	case 4:
		for y := range 4 {
			binary.LittleEndian.PutUint32(dst[y*stride:], uint32(all))
		}
	case 2:
		binary.LittleEndian.PutUint16(dst, uint16(all))
		binary.LittleEndian.PutUint16(dst[stride:], uint16(all))
	default:
		dst[0] = byte(all)
	}
}

// full writes 8x8 samples.
func full(b *block, dst []byte, stride int) {
	for x := range 8 {
		b0, b1, b2, b3 := b[x], b[8+x], b[16+x], b[24+x]
		b4, b5, b6, b7 := b[32+x], b[40+x], b[48+x], b[56+x]
		if b1|b2|b3|b4|b5|b6|b7 == 0 {
			v := (b0<<13 + 1<<10) >> 11 // as all would come out, whatever hostile tables make of b0
			b[x], b[8+x], b[16+x], b[24+x], b[32+x], b[40+x], b[48+x], b[56+x] = v, v, v, v, v, v, v, v
			continue
		}
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(b0, b1, b2, b3, b4, b5, b6, b7)
		const half = 1 << 10
		b[x], b[56+x] = (e0+o3+half)>>11, (e0-o3+half)>>11
		b[8+x], b[48+x] = (e1+o2+half)>>11, (e1-o2+half)>>11
		b[16+x], b[40+x] = (e2+o1+half)>>11, (e2-o1+half)>>11
		b[24+x], b[32+x] = (e3+o0+half)>>11, (e3-o0+half)>>11
	}
	for y := range 8 {
		r := (*[8]int32)(b[y*8:])
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		const half = 1<<17 + 128<<18
		v0, v1, v2, v3 := (e0+o3+half)>>18, (e1+o2+half)>>18, (e2+o1+half)>>18, (e3+o0+half)>>18
		v4, v5, v6, v7 := (e3-o0+half)>>18, (e2-o1+half)>>18, (e1-o2+half)>>18, (e0-o3+half)>>18
		if uint32(v0|v1|v2|v3|v4|v5|v6|v7) > 255 {
			binary.LittleEndian.PutUint64(dst[y*stride:], clamped(v0, v1, v2, v3, v4, v5, v6, v7))
			continue
		}
		low := uint32(v0) | uint32(v1)<<8 | uint32(v2)<<16 | uint32(v3)<<24
		high := uint32(v4) | uint32(v5)<<8 | uint32(v6)<<16 | uint32(v7)<<24
		binary.LittleEndian.PutUint64(dst[y*stride:], uint64(low)|uint64(high)<<32)
	}
}

// clamped packs a row of samples of which one at least is out of range.
func clamped(v0, v1, v2, v3, v4, v5, v6, v7 int32) uint64 {
	return clamp(v0) | clamp(v1)<<8 | clamp(v2)<<16 | clamp(v3)<<24 | clamp(v4)<<32 | clamp(v5)<<40 | clamp(v6)<<48 | clamp(v7)<<56
}

// lowLast is the last coefficient in coding order for which a block has nothing
// outside its 4x4 lowest frequencies.
const lowLast = 9

// fullLow is full for blocks whose frequencies are all in the lowest 4x4, as most
// of a camera's are: the same sums without what is zero, so the same samples.
func fullLow(b *block, dst []byte, stride int) {
	for x := range 4 {
		b0, b1, b2, b3 := b[x], b[8+x], b[16+x], b[24+x]
		if b1|b2|b3 == 0 {
			v := (b0<<13 + 1<<10) >> 11
			b[x], b[8+x], b[16+x], b[24+x], b[32+x], b[40+x], b[48+x], b[56+x] = v, v, v, v, v, v, v, v
			continue
		}
		t0, t2, t3 := b0<<13, b2*fix0541, b2*(fix0541+fix0765)
		z5 := (b3 + b1) * fix1175
		z3, z4 := b3*-fix1961+z5, b1*-fix0390+z5
		o0, o1, o2, o3 := b1*-fix0899+z3, b3*-fix2562+z4, b3*(fix3072-fix2562)+z3, b1*(fix1501-fix0899)+z4
		const half = 1 << 10
		e0, e3, e1, e2 := t0+t3+half, t0-t3+half, t0+t2+half, t0-t2+half
		b[x], b[56+x] = (e0+o3)>>11, (e0-o3)>>11
		b[8+x], b[48+x] = (e1+o2)>>11, (e1-o2)>>11
		b[16+x], b[40+x] = (e2+o1)>>11, (e2-o1)>>11
		b[24+x], b[32+x] = (e3+o0)>>11, (e3-o0)>>11
	}
	for y := range 8 {
		r := (*[4]int32)(b[y*8:])
		b0, b1, b2, b3 := r[0], r[1], r[2], r[3]
		t0, t2, t3 := b0<<13, b2*fix0541, b2*(fix0541+fix0765)
		z5 := (b3 + b1) * fix1175
		z3, z4 := b3*-fix1961+z5, b1*-fix0390+z5
		o0, o1, o2, o3 := b1*-fix0899+z3, b3*-fix2562+z4, b3*(fix3072-fix2562)+z3, b1*(fix1501-fix0899)+z4
		const half = 1<<17 + 128<<18
		e0, e3, e1, e2 := t0+t3+half, t0-t3+half, t0+t2+half, t0-t2+half
		v0, v1, v2, v3 := (e0+o3)>>18, (e1+o2)>>18, (e2+o1)>>18, (e3+o0)>>18
		v4, v5, v6, v7 := (e3-o0)>>18, (e2-o1)>>18, (e1-o2)>>18, (e0-o3)>>18
		if uint32(v0|v1|v2|v3|v4|v5|v6|v7) > 255 {
			binary.LittleEndian.PutUint64(dst[y*stride:], clamped(v0, v1, v2, v3, v4, v5, v6, v7))
			continue
		}
		low := uint32(v0) | uint32(v1)<<8 | uint32(v2)<<16 | uint32(v3)<<24
		high := uint32(v4) | uint32(v5)<<8 | uint32(v6)<<16 | uint32(v7)<<24
		binary.LittleEndian.PutUint64(dst[y*stride:], uint64(low)|uint64(high)<<32)
	}
}

// butterfly returns the even and odd halves of one 8-point transform: sample k
// is e[k] + o[3-k], sample 7-k is e[k] - o[3-k].
func butterfly(b0, b1, b2, b3, b4, b5, b6, b7 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z1 := (b2 + b6) * fix0541
	t2, t3 := z1-b6*fix1847, z1+b2*fix0765
	t0, t1 := (b0+b4)<<13, (b0-b4)<<13
	e0, e3, e1, e2 = t0+t3, t0-t3, t1+t2, t1-t2

	z1, z2, z3, z4 := b7+b1, b5+b3, b7+b3, b5+b1
	z5 := (z3 + z4) * fix1175
	z1, z2 = z1*-fix0899, z2*-fix2562
	z3, z4 = z3*-fix1961+z5, z4*-fix0390+z5
	o0 = b7*fix0298 + z1 + z3
	o1 = b5*fix2053 + z2 + z4
	o2 = b3*fix3072 + z2 + z3
	o3 = b1*fix1501 + z1 + z4
	return e0, e1, e2, e3, o0, o1, o2, o3
}

// half writes 4x4 samples from the 4x4 lowest frequencies.
func half(b *block, dst []byte, stride int) {
	for x := range 4 {
		e0, e1, o0, o1 := butterfly4(b[x], b[8+x], b[16+x], b[24+x])
		const round = 1 << 10
		b[x], b[24+x] = (e0+o0+round)>>11, (e0-o0+round)>>11
		b[8+x], b[16+x] = (e1+o1+round)>>11, (e1-o1+round)>>11
	}
	for y := range 4 {
		r := (*[4]int32)(b[y*8:])
		e0, e1, o0, o1 := butterfly4(r[0], r[1], r[2], r[3])
		const round = 1<<17 + 128<<18
		v := clamp((e0+o0+round)>>18) | clamp((e1+o1+round)>>18)<<8 | clamp((e1-o1+round)>>18)<<16 | clamp((e0-o0+round)>>18)<<24
		binary.LittleEndian.PutUint32(dst[y*stride:], uint32(v))
	}
}

func butterfly4(b0, b1, b2, b3 int32) (e0, e1, o0, o1 int32) {
	z1 := (b1 + b3) * fix0541
	return (b0 + b2) << 13, (b0 - b2) << 13, z1 + b1*fix0765, z1 - b3*fix1847
}

// quarter writes 2x2 samples from the 2x2 lowest frequencies.
func quarter(b0, b1, b8, b9 int32, dst []byte, stride int) {
	const round = 4 + 128<<3
	s, d := b0+b8+round, b0-b8+round
	t, u := b1+b9, b1-b9
	dst[0], dst[1] = byte(clamp((s+t)>>3)), byte(clamp((s-t)>>3))
	dst[stride], dst[stride+1] = byte(clamp((d+u)>>3)), byte(clamp((d-u)>>3))
}
