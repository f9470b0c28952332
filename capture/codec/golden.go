package codec

// Golden draws the picture whose hashes and scores each package knows, so that
// a build can be checked where it runs: smooth light, hard edges and noise, all
// in integers. Its rows end in bytes that must not be read.
func Golden(width, height int) Plane {
	p := Plane{Width: width, Height: height, Stride: width + 3, Pix: make([]byte, (width+3)*height)}
	noise := uint32(1)
	for i := range p.Pix {
		x, y := i%p.Stride, i/p.Stride
		noise = noise*1664525 + 1013904223 // the generator of Numerical Recipes
		v := 40 + 90*x*y/(width*height) + int(noise>>28)
		if (x*7/width+y*5/height)%3 == 0 {
			v += 80
		}
		p.Pix[i] = byte(v)
	}
	return p
}

// FaintGolden is Golden with its levels divided by 2^shift, and light added: a
// picture with little in it, for scores that are cut off at their largest.
func FaintGolden(width, height int, shift uint) Plane {
	p := Golden(width, height)
	for i, v := range p.Pix {
		p.Pix[i] = 100 + v>>shift
	}
	return p
}
