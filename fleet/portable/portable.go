// Package portable computes elementary functions with the same bits on every
// processor. Those of math differ in their last bit: they are assembler here
// and Go there, and Go multiplies and adds in one rounding where the processor
// can (arm64, and amd64 from GOAMD64=v3 on). That is too little to see and
// enough to move a sunrise by a second, or a bit of a hash.
//
//	x ──reduced, exactly──► polynomial, each product rounded by itself ──► the same float64 everywhere
//
// Callers round their own products too, float64(a*b)+c, for the compiler does
// not join what an explicit conversion holds apart.
package portable

import "math"

// Poly returns the polynomial at x, the highest coefficient first, by Horner's
// rule.
func Poly(x float64, coefficients ...float64) float64 {
	var y float64
	for _, c := range coefficients {
		y = float64(y*x) + c
	}
	return y
}

// Sin returns the sine of x radians, to about 1e-16 while |x| is below 1e6: the
// reduction loses bits beyond.
func Sin(x float64) float64 {
	z, octant := reduce(math.Abs(x))
	y := half(z, octant == 1 || octant == 2 || octant == 5 || octant == 6)
	if (octant > 3) != (x < 0) {
		return -y
	}
	return y
}

// Cos returns the cosine of x radians, in the range of Sin.
func Cos(x float64) float64 {
	z, octant := reduce(math.Abs(x))
	y := half(z, octant == 0 || octant == 3 || octant == 4 || octant == 7)
	if octant >= 2 && octant < 6 {
		return -y
	}
	return y
}

// reduce takes whole octants off x, so that -π/4 <= z <= π/4, and returns which
// octant x was in; where z is taken from the octant's end that is the next one.
func reduce(x float64) (z float64, octant uint64) {
	if !(x <= math.MaxInt32) { // so that the products below are exact; NaN too
		x = math.Mod(x, 2*math.Pi)
		if math.IsNaN(x) {
			return x, 0
		}
	}
	n := uint64(x * (4 / math.Pi))
	n += n & 1
	y := float64(n)
	// A quarter of π in three parts (Cody and Waite 1980): y times each of the
	// first two is exact.
	z = x - float64(y*0x1.921fb4p-1)
	z -= float64(y * 0x1.4442dp-25)
	z -= float64(y * 0x1.8469898cc5170p-49)
	return z, n & 7
}

// half is the cosine, or else the sine, of z between -π/4 and π/4, by the
// polynomials of Moshier's Cephes library.
func half(z float64, cosine bool) float64 {
	zz := float64(z * z)
	if cosine {
		p := Poly(zz, -1.13585365213876817300e-11, 2.08757008419747316778e-9, -2.75573141792967388112e-7,
			2.48015872888517045348e-5, -1.38888888888730564116e-3, 4.16666666666665929218e-2)
		return 1 - float64(0.5*zz) + float64(float64(zz*zz)*p)
	}
	p := Poly(zz, 1.58962301576546568060e-10, -2.50507477628578072866e-8, 2.75573136213857245213e-6,
		-1.98412698295895385996e-4, 8.33333333332211858878e-3, -1.66666666666666307295e-1)
	return z + float64(float64(z*zz)*p)
}

// Atan returns the angle whose tangent is x, in radians.
func Atan(x float64) float64 {
	if math.Abs(x) > 1 {
		return math.Copysign(math.Pi/2, x) - Atan(1/x)
	}
	// Half the angle, three times: the series then ends below the last bit,
	// 0.1⁹ of its first term.
	for range 3 {
		x /= 1 + math.Sqrt(1+float64(x*x))
	}
	return 8 * float64(x*Poly(-float64(x*x), 1.0/17, 1.0/15, 1.0/13, 1.0/11, 1.0/9, 1.0/7, 1.0/5, 1.0/3, 1))
}

// Asin returns the angle whose sine is x, in radians, and NaN beyond -1..1.
func Asin(x float64) float64 {
	root := math.Sqrt(float64((1 - x) * (1 + x)))
	switch {
	case math.IsNaN(root):
		return root
	case root == 0:
		return math.Copysign(math.Pi/2, x)
	}
	return Atan(x / root)
}

// Acos returns the angle whose cosine is x, in radians, and NaN beyond -1..1.
func Acos(x float64) float64 { return math.Pi/2 - Asin(x) }

// Log2 returns the binary logarithm of x > 0, finite; it is exact for powers of
// two. For others it returns what math does.
func Log2(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 1) {
		return math.Log2(x)
	}
	f, e := math.Frexp(x)
	if f < math.Sqrt2/2 {
		f, e = 2*f, e-1
	}
	s := (f - 1) / (f + 1) // ln f = 2 (s + s³/3 + s⁵/5 + ...)
	ln := float64(s * Poly(float64(s*s), 1.0/21, 1.0/19, 1.0/17, 1.0/15, 1.0/13, 1.0/11, 1.0/9, 1.0/7, 1.0/5, 1.0/3, 1))
	return float64(e) + float64(2/math.Ln2*ln)
}
