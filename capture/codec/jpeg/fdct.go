package jpeg

// forward transforms a block of samples around zero to 8 times its coefficients,
// row by row. It is the accurate integer transform of Loeffler, Ligtenberg and
// Moschytz again, the other way round.
func forward(b *block) {
	for y := range 8 {
		r := (*[8]int32)(b[y*8:])
		e0, e4, e2, e6, o1, o3, o5, o7 := fold(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		const half = 1 << 10
		r[0], r[4] = e0<<2, e4<<2
		r[2], r[6] = (e2+half)>>11, (e6+half)>>11
		r[1], r[3], r[5], r[7] = (o1+half)>>11, (o3+half)>>11, (o5+half)>>11, (o7+half)>>11
	}
	for x := range 8 {
		e0, e4, e2, e6, o1, o3, o5, o7 := fold(b[x], b[8+x], b[16+x], b[24+x], b[32+x], b[40+x], b[48+x], b[56+x])
		const half = 1 << 14
		b[x], b[32+x] = (e0+2)>>2, (e4+2)>>2
		b[16+x], b[48+x] = (e2+half)>>15, (e6+half)>>15
		b[8+x], b[24+x], b[40+x], b[56+x] = (o1+half)>>15, (o3+half)>>15, (o5+half)>>15, (o7+half)>>15
	}
}

// fold returns the frequencies of one 8-point transform, of which all but 0 and 4
// are 8192 times as large.
func fold(s0, s1, s2, s3, s4, s5, s6, s7 int32) (e0, e4, e2, e6, o1, o3, o5, o7 int32) {
	a0, a1, a2, a3 := s0+s7, s1+s6, s2+s5, s3+s4
	d0, d1, d2, d3 := s0-s7, s1-s6, s2-s5, s3-s4
	c0, c1, c2, c3 := a0+a3, a1+a2, a1-a2, a0-a3
	e0, e4 = c0+c1, c0-c1
	z := (c2 + c3) * fix0541
	e2, e6 = z+c3*fix0765, z-c2*fix1847

	z1, z2, z3, z4 := (d3+d0)*-fix0899, (d2+d1)*-fix2562, d3+d1, d2+d0
	z5 := (z3 + z4) * fix1175
	z3, z4 = z3*-fix1961+z5, z4*-fix0390+z5
	o7 = d3*fix0298 + z1 + z3
	o5 = d2*fix2053 + z2 + z4
	o3 = d1*fix3072 + z2 + z3
	o1 = d0*fix1501 + z1 + z4
	return e0, e4, e2, e6, o1, o3, o5, o7
}
