package quality

import (
	"math"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet/portable"
)

const (
	side  = codec.GridSize
	cells = side * side
)

// Plane is a grid in whole levels: what is remembered of a picture.
type Plane [cells]uint8

// Reduced returns the grid rounded to levels.
func Reduced(g *codec.Grid) (p Plane) {
	for i, v := range g.Pix {
		p[i] = uint8(max(0, min(255, v+0.5)))
	}
	return p
}

// Change is how two planes differ.
type Change struct {
	Mean        float32 // mean absolute difference, in levels, 0..255
	Changed     float32 // share of cells that differ at all, 0..1: sensor noise alone changes some
	Correlation float32 // Pearson's, -1..1: light that falls on all alike leaves it at 1; 0 when one is even
}

// Compare measures the change from one plane to another.
func Compare(from, to *Plane) Change {
	var sum, changed int
	for i, v := range from {
		d := int(to[i]) - int(v)
		sum += max(d, -d)
		if d != 0 {
			changed++
		}
	}
	return Change{
		Mean:        float32(sum) / cells,
		Changed:     float32(changed) / cells,
		Correlation: float32(correlation((*[cells]uint8)(from), (*[cells]uint8)(to), 0, 0, 0, 0, side, side)),
	}
}

// correlation is Pearson's, between from at (x, y) and to at (x+dx, y+dy), over
// the cells of the rectangle where both are inside; 0 when either is even there.
func correlation[T uint8 | int16](from, to *[cells]T, dx, dy, left, top, right, bottom int) float64 {
	var n, a, b, aa, bb, ab float64
	for y := max(top, -dy); y < min(bottom, side-dy); y++ {
		for x := max(left, -dx); x < min(right, side-dx); x++ {
			u, v := float64(from[y*side+x]), float64(to[(y+dy)*side+x+dx])
			n++
			a += u
			b += v
			aa += u * u
			bb += v * v
			ab += u * v
		}
	}
	va, vb := aa*n-a*a, bb*n-b*b
	if va <= 0 || vb <= 0 {
		return 0
	}
	return (ab*n - a*b) / math.Sqrt(va*vb)
}

// spread is the standard deviation over all cells, in levels.
func spread(p *Plane) float64 {
	var a, aa int
	for _, v := range p {
		a += int(v)
		aa += int(v) * int(v)
	}
	mean := float64(a) / cells
	return math.Sqrt(max(0, float64(aa)/cells-float64(mean*mean)))
}

// Shift is how far a picture has moved.
type Shift struct {
	// X and Y are shares of the picture's width and height, positive to the right
	// and downwards: of what is seen, so a camera that was turned to the left has
	// a positive X. At most half a picture either way.
	X, Y float32
	// Peak is the height of the correlation's peak, 0..1: 1 for a copy that was
	// moved around the edges, near 0 for another scene.
	Peak float32
	// Correlation is Pearson's over the part that both show, once moved back.
	Correlation float32
}

// MeasureShift finds the shift from one plane to another by phase correlation
// (Kuglin and Hines 1975): under a window that hides the borders, the spectra
// are divided, their magnitudes dropped, and the peak of what comes back is the
// shift, refined between cells by a parabola.
func MeasureShift(from, to *Plane) Shift {
	return measureShift((*[cells]uint8)(from), (*[cells]uint8)(to))
}

func measureShift[T uint8 | int16](from, to *[cells]T) Shift {
	var a, b spectrum
	fill(&a, from)
	fill(&b, to)
	a.transform(false)
	b.transform(false)
	for i, u := range a {
		c := times(b[i], complex(real(u), -imag(u)))
		if m := math.Sqrt(float64(real(c)*real(c)) + float64(imag(c)*imag(c))); m > 1e-9 {
			c /= complex(m, 0)
		} else {
			c = 0
		}
		a[i] = c
	}
	a.transform(true)
	best := 0
	for i, v := range a {
		if real(v) > real(a[best]) {
			best = i
		}
	}
	x, y := best%side, best/side
	at := func(x, y int) float64 { return real(a[(y+side)%side*side+(x+side)%side]) }
	dx := signed(x) + vertex(at(x-1, y), at(x, y), at(x+1, y))
	dy := signed(y) + vertex(at(x, y-1), at(x, y), at(x, y+1))
	return Shift{
		X: float32(dx / side), Y: float32(dy / side),
		Peak:        float32(max(0, min(1, real(a[best])))),
		Correlation: float32(correlation(from, to, int(signed(x)), int(signed(y)), 0, 0, side, side)),
	}
}

// signed reads the upper half of the indices as shifts the other way.
func signed(i int) float64 {
	if i >= side/2 {
		i -= side
	}
	return float64(i)
}

// vertex is where the parabola through three samples is highest, -0.5..0.5.
func vertex(before, here, after float64) float64 {
	d := before - 2*here + after
	if d >= 0 {
		return 0
	}
	return max(-0.5, min(0.5, (before-after)/(2*d)))
}

// spectrum is a plane of complex numbers, row by row.
type spectrum [cells]complex128

// fill takes p without its mean under a Hann window.
func fill[T uint8 | int16](s *spectrum, p *[cells]T) {
	var sum float64
	for _, v := range p {
		sum += float64(v)
	}
	var window [side]float64
	for i := range window {
		window[i] = 0.5 - 0.5*portable.Cos(2*math.Pi*(float64(i)+0.5)/side)
	}
	for i, v := range p {
		s[i] = complex((float64(v)-sum/cells)*window[i%side]*window[i/side], 0)
	}
}

// transform is the discrete Fourier transform of rows and then columns, or its
// inverse, divided by the number of cells.
func (s *spectrum) transform(inverse bool) {
	sign := -1.0
	if inverse {
		sign = 1
	}
	var root [side / 2]complex128
	for k := range root {
		turn := sign * 2 * math.Pi * float64(k) / side
		root[k] = complex(portable.Cos(turn), portable.Sin(turn))
	}
	var line [side]complex128
	for y := range side {
		fft((*[side]complex128)(s[y*side:]), &root)
	}
	for x := range side {
		for y := range line {
			line[y] = s[y*side+x]
		}
		fft(&line, &root)
		for y, v := range line {
			if inverse {
				v /= cells
			}
			s[y*side+x] = v
		}
	}
}

// fft transforms 64 numbers in place (Cooley and Tukey 1965, radix 2).
func fft(v *[side]complex128, root *[side / 2]complex128) {
	for i, j := 1, 0; i < side; i++ {
		bit := side / 2
		for ; j&bit != 0; bit /= 2 {
			j &^= bit
		}
		j |= bit
		if i < j {
			v[i], v[j] = v[j], v[i]
		}
	}
	for n := 2; n <= side; n *= 2 {
		for start := 0; start < side; start += n {
			for k := range n / 2 {
				a, b := v[start+k], times(v[start+k+n/2], root[k*(side/n)])
				v[start+k], v[start+k+n/2] = a+b, a-b
			}
		}
	}
}

// times is a*b with each product rounded, so that it is the same on every
// processor.
func times(a, b complex128) complex128 {
	return complex(float64(real(a)*real(b))-float64(imag(a)*imag(b)), float64(real(a)*imag(b))+float64(imag(a)*real(b)))
}
