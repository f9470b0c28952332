package jpeg

import "math"

// The constants of the transform by Loeffler, Ligtenberg and Moschytz ("Practical
// fast 1-D DCT algorithms with 11 multiplications", 1989), in 13 bits.
const (
	constBits = 13
	passBits  = 2

	f0298 = 2446  // sqrt(2)*(-c1+c3+c5-c7)
	f0390 = 3196  // sqrt(2)*(c5-c3)... of the odd part
	f0541 = 4433  // sqrt(2)*c6
	f0765 = 6270  // sqrt(2)*(c2-c6)
	f0899 = 7373  // sqrt(2)*(c7-c3)
	f1175 = 9633  // sqrt(2)*c3
	f1501 = 12299 // sqrt(2)*(c1+c3-c5-c7)
	f1847 = 15137 // sqrt(2)*(c2+c6)
	f1961 = 16069 // sqrt(2)*(c3+c5)
	f2053 = 16819 // sqrt(2)*(c1+c3-c5+c7)
	f2562 = 20995 // sqrt(2)*(c1+c3)
	f3072 = 25172 // sqrt(2)*(c1+c3+c5-c7)
)

// idct1 is one pass over eight values.
func idct1(s0, s1, s2, s3, s4, s5, s6, s7 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z1 := (s2 + s6) * f0541
	t2 := z1 - s6*f1847
	t3 := z1 + s2*f0765
	t0 := (s0 + s4) << constBits
	t1 := (s0 - s4) << constBits
	e0, e3, e1, e2 = t0+t3, t0-t3, t1+t2, t1-t2

	a, b, c, d := s7, s5, s3, s1
	y1, y2, y3, y4 := a+d, b+c, a+c, b+d
	y5 := (y3 + y4) * f1175
	y1 *= -f0899
	y2 *= -f2562
	y3 = y3*-f1961 + y5
	y4 = y4*-f0390 + y5
	o3 = a*f0298 + y1 + y3
	o2 = b*f2053 + y2 + y4
	o1 = c*f3072 + y2 + y3
	o0 = d*f1501 + y1 + y4
	return e0, e1, e2, e3, o0, o1, o2, o3
}

// idct8 writes an 8x8 block of samples.
func idct8(b *[64]int32, dst []byte, stride int) {
	const r1 = 1 << (constBits - passBits - 1)
	for x := range 8 {
		c := b[x:]
		if c[8]|c[16]|c[24]|c[32]|c[40]|c[48]|c[56] == 0 {
			v := c[0] << passBits
			c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v
			c[0] = v
			continue
		}
		e0, e1, e2, e3, o0, o1, o2, o3 := idct1(c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56])
		const sh = constBits - passBits
		c[0], c[56] = (e0+o0+r1)>>sh, (e0-o0+r1)>>sh
		c[8], c[48] = (e1+o1+r1)>>sh, (e1-o1+r1)>>sh
		c[16], c[40] = (e2+o2+r1)>>sh, (e2-o2+r1)>>sh
		c[24], c[32] = (e3+o3+r1)>>sh, (e3-o3+r1)>>sh
	}
	const sh = constBits + passBits + 3
	const r2 = 1<<(sh-1) + 128<<sh
	for y := range 8 {
		r := b[8*y : 8*y+8 : 8*y+8]
		out := dst[y*stride:][:8]
		e0, e1, e2, e3, o0, o1, o2, o3 := idct1(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		out[0], out[7] = clamp((e0+o0+r2)>>sh), clamp((e0-o0+r2)>>sh)
		out[1], out[6] = clamp((e1+o1+r2)>>sh), clamp((e1-o1+r2)>>sh)
		out[2], out[5] = clamp((e2+o2+r2)>>sh), clamp((e2-o2+r2)>>sh)
		out[3], out[4] = clamp((e3+o3+r2)>>sh), clamp((e3-o3+r2)>>sh)
	}
}

// small holds the bases of the 4- and 2-point transforms: basis[n][x][u] is
// what coefficient u adds to sample x, in 13 bits, scaled so that two passes
// over the low n x n coefficients of an 8x8 block give samples.
var small = func() (m [5][4][4]int32) {
	for _, n := range []int{2, 4} {
		for x := range n {
			for u := range n {
				c := math.Cos(math.Pi * float64(2*x+1) * float64(u) / float64(2*n))
				if u == 0 {
					c *= math.Sqrt2 / 2
				}
				// The 8-point transform has a factor 1/2 a pass; the low
				// coefficients of 8 points are those of n points times sqrt(8/n).
				m[n][x][u] = int32(math.Round(c / 2 * (1 << constBits)))
			}
		}
	}
	return m
}()

// idctSmall writes a block scaled down to 4x4, 2x2 or 1x1 samples.
func idctSmall(b *[64]int32, dst []byte, stride, n int) {
	if n == 1 {
		dst[0] = clamp((b[0]+4)>>3 + 128)
		return
	}
	m := &small[n]
	var tmp [4][4]int32 // [v][x]
	for v := range n {
		for x := range n {
			var s int32
			for u := range n {
				s += m[x][u] * b[8*v+u]
			}
			tmp[v][x] = (s + 1<<(constBits-passBits-3-1)) >> (constBits - passBits - 3)
		}
	}
	const sh = constBits + passBits + 3
	for y := range n {
		row := dst[y*stride:][:n]
		for x := range row {
			var s int64
			for v := range n {
				s += int64(m[y][v]) * int64(tmp[v][x])
			}
			row[x] = clamp(int32((s+1<<(sh-1))>>sh) + 128)
		}
	}
}
