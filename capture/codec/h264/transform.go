package h264

// zigzag4 and zigzag8 are the frame scans of 8.5.6 and 8.5.7, as row*width+column.
var (
	zigzag4 = [16]uint8{0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15}
	zigzag8 = [64]uint8{
		0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
		12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
		35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
		58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	}
	scanDC = [4]uint8{0, 1, 2, 3}
)

// unit leaves levels as they are: (level*64+32)>>6.
var unit = [16]int32{64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64}

// norm4 and norm8 are normAdjust4x4 and normAdjust8x8, (8-315) and (8-318).
var (
	norm4 = [6][3]int32{{10, 16, 13}, {11, 18, 14}, {13, 20, 16}, {14, 23, 18}, {16, 25, 20}, {18, 29, 23}}
	norm8 = [6][6]int32{
		{20, 18, 32, 19, 25, 24}, {22, 19, 35, 21, 28, 26}, {26, 23, 42, 24, 33, 31},
		{28, 25, 45, 26, 35, 33}, {32, 28, 51, 30, 40, 38}, {36, 32, 58, 34, 46, 43},
	}
)

// quantisers are LevelScale4x4 and LevelScale8x8 of 8.5.9 for each qP, times
// 4 << qP/6, so that a coefficient is (level*scale + 32) >> 6 at every qP: that
// rounds where 8.5.12.1 and 8.5.13.1 do, and shifts out nothing where they shift
// left.
type quantisers struct {
	of    scaling
	ready bool
	m4    [3][52][16]int32 // Y, Cb, Cr
	m8    [52][64]int32
}

// set computes the tables unless they are those of s already. The scale of an
// 8x8 coefficient has two bits less.
func (q *quantisers) set(s *scaling) {
	if q.ready && q.of == *s {
		return
	}
	q.of, q.ready = *s, true
	for qp := range 52 {
		for k, at := range zigzag4 {
			n := norm4[qp%6][kind4(at>>2, at&3)] << (qp/6 + 2)
			for i := range q.m4 {
				q.m4[i][qp][at] = int32(s.m4[i][k]) * n
			}
		}
		for k, at := range zigzag8 {
			q.m8[qp][at] = int32(s.m8[k]) * norm8[qp%6][kind8(at>>3, at&7)] << (qp / 6)
		}
	}
}

// kind4 says which of norm4's columns is for a place.
func kind4(i, j uint8) int {
	switch {
	case i&1 == 0 && j&1 == 0:
		return 0
	case i&1 == 1 && j&1 == 1:
		return 1
	}
	return 2
}

// kind8 says which of norm8's columns is for a place.
func kind8(i, j uint8) int {
	switch {
	case i&3 == 0 && j&3 == 0:
		return 0
	case i&1 == 1 && j&1 == 1:
		return 1
	case i&3 == 2 && j&3 == 2:
		return 2
	case i&3 == 0 && j&1 == 1 || i&1 == 1 && j&3 == 0:
		return 3
	case i&3 == 0 && j&3 == 2 || i&3 == 2 && j&3 == 0:
		return 4
	}
	return 5
}

// chromaQPs is QPC by qPI from 30 on, Table 8-15.
var chromaQPs = [22]uint8{29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39}

// chromaQP is QPC for chroma_qp_index_offset and QPY, 8.5.8.
func chromaQP(offset, qp int) int {
	i := min(max(qp+offset, 0), 51)
	if i < 30 {
		return i
	}
	return int(chromaQPs[i-30])
}

// chromaQP is the quantiser of Cb (0) or Cr (1) beside luma's.
func (h *sliceHeader) chromaQP(i, qp int) int { return chromaQP(h.pps.chromaOffset[i], qp) }

// clip is Clip1Y for 8 bits.
func clip(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// add4 transforms a 4x4 block, 8.5.12.2, adds it to the prediction and clears it.
func add4(dst []uint8, stride int, c *[16]int32) {
	for i := 0; i < 16; i += 4 {
		r := c[i : i+4 : i+4]
		e, f := r[0]+r[2], r[0]-r[2]
		g, h := r[1]>>1-r[3], r[1]+r[3]>>1
		r[0], r[1], r[2], r[3] = e+h, f+g, f-g, e-h
	}
	r0, r1, r2, r3 := dst[:4:4], dst[stride:][:4:4], dst[2*stride:][:4:4], dst[3*stride:][:4:4]
	for i := range 4 {
		c0, c1, c2, c3 := c[i], c[i+4], c[i+8], c[i+12]
		e, f := c0+c2+32, c0-c2+32
		g, h := c1>>1-c3, c1+c3>>1
		r0[i] = clip(int32(r0[i]) + (e+h)>>6)
		r1[i] = clip(int32(r1[i]) + (f+g)>>6)
		r2[i] = clip(int32(r2[i]) + (f-g)>>6)
		r3[i] = clip(int32(r3[i]) + (e-h)>>6)
	}
	*c = [16]int32{}
}

// addDC adds a block that has its first coefficient only, and clears that.
func addDC(dst []uint8, stride, size int, c *int32) {
	v := (*c + 32) >> 6
	*c = 0
	for range size {
		row := dst[:size]
		for x, s := range row {
			row[x] = clip(int32(s) + v)
		}
		dst = dst[min(stride, len(dst)):]
	}
}

// add8 transforms an 8x8 block, 8.5.13, adds it to the prediction and clears it.
func add8(dst []uint8, stride int, c *[64]int32) {
	for i := 0; i < 64; i += 8 {
		r := (*[8]int32)(c[i:])
		r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7] = butterfly8(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
	}
	for i := range 8 {
		v0, v1, v2, v3, v4, v5, v6, v7 := butterfly8(c[i]+32, c[i+8], c[i+16], c[i+24], c[i+32], c[i+40], c[i+48], c[i+56])
		for y, v := range [8]int32{v0, v1, v2, v3, v4, v5, v6, v7} {
			p := &dst[y*stride+i]
			*p = clip(int32(*p) + v>>6)
		}
	}
	*c = [64]int32{}
}

// butterfly8 is the one-dimensional transform, (8-359) to (8-382).
func butterfly8(c0, c1, c2, c3, c4, c5, c6, c7 int32) (v0, v1, v2, v3, v4, v5, v6, v7 int32) {
	a0, a2 := c0+c4, c0-c4
	a4, a6 := c2>>1-c6, c2+c6>>1
	b0, b2, b4, b6 := a0+a6, a2+a4, a2-a4, a0-a6
	a1 := -c3 + c5 - c7 - c7>>1
	a3 := c1 + c7 - c3 - c3>>1
	a5 := -c1 + c7 + c5 + c5>>1
	a7 := c3 + c5 + c1 + c1>>1
	b1, b7 := a1+a7>>2, a7-a1>>2
	b3, b5 := a3+a5>>2, a3>>2-a5
	return b0 + b7, b2 + b5, b4 + b3, b6 + b1, b6 - b1, b4 - b3, b2 - b5, b0 - b7
}

// lumaDC transforms and dequantises the DC coefficients of an Intra_16x16
// macroblock, 8.5.10, and hands them to their blocks.
func lumaDC(dc *[16]int32, scale int32, coefs *[256]int32) {
	for i := 0; i < 16; i += 4 {
		r := dc[i : i+4 : i+4]
		a, b, c, d := r[0]+r[1], r[0]-r[1], r[2]+r[3], r[2]-r[3]
		r[0], r[1], r[2], r[3] = a+c, a-c, b-d, b+d
	}
	for i := range 4 {
		a, b, c, d := dc[i]+dc[i+4], dc[i]-dc[i+4], dc[i+8]+dc[i+12], dc[i+8]-dc[i+12]
		dc[i], dc[i+4], dc[i+8], dc[i+12] = a+c, a-c, b-d, b+d
	}
	for i := range 16 {
		coefs[16*i] = (dc[4*blockY[i]+blockX[i]]*scale + 128) >> 8
	}
	*dc = [16]int32{}
}

// chromaDC transforms and dequantises the DC coefficients of a chroma plane,
// 8.5.11, and hands them to their blocks.
func chromaDC(c *[4]int32, scale int32, coefs *[64]int32) {
	a, b, e, f := c[0]+c[1], c[0]-c[1], c[2]+c[3], c[2]-c[3]
	for i, v := range [4]int32{a + e, b + f, a - e, b - f} {
		coefs[16*i] = v * scale >> 7
	}
	*c = [4]int32{}
}
