package codec

// DecodePGM reads a binary PGM (P5) of 8 bits into pic. The plane is a view of
// data: it lives as long as data is left alone.
func DecodePGM(data []byte, l Limits, pic *Picture) error {
	l = l.WithDefaults()
	// A PGM is as large as its picture, so the pixels bound the bytes.
	if len(data) < 2 || data[0] != 'P' {
		return Corrupt("not a PGM: it does not begin with P5")
	}
	if data[1] != '5' {
		return Unsupported("PGM of type P%c: only the binary kind, P5, is read", data[1])
	}
	rest := data[2:]
	var nums [3]int
	for i := range nums {
		n, tail, ok := pgmNumber(rest)
		if !ok {
			return Corrupt("the PGM header is broken: want width, height and the largest value")
		}
		nums[i], rest = n, tail
	}
	w, h, top := nums[0], nums[1], nums[2]
	if err := l.CheckSize(w, h); err != nil {
		return err
	}
	if top != 255 {
		return Unsupported("PGM with values up to %d: only 255 is read", top)
	}
	if len(rest) == 0 || !pgmSpace(rest[0]) {
		return Corrupt("the PGM header does not end in a space")
	}
	rest = rest[1:]
	if len(rest) < w*h {
		return Corrupt("the PGM is cut off: %d of %d samples", len(rest), w*h)
	}
	*pic = Picture{Y: Plane{Pix: rest[:w*h], Width: w, Height: h, Stride: w}}
	return nil
}

// pgmNumber reads one decimal number after spaces and comments.
func pgmNumber(b []byte) (n int, rest []byte, ok bool) {
	spaced := false
	for len(b) > 0 {
		if pgmSpace(b[0]) {
			b, spaced = b[1:], true
			continue
		}
		if b[0] != '#' {
			break
		}
		for len(b) > 0 && b[0] != '\n' && b[0] != '\r' {
			b = b[1:]
		}
		spaced = true
	}
	digits := 0
	for len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
		if digits++; digits > 9 {
			return 0, nil, false
		}
		n = n*10 + int(b[0]-'0')
		b = b[1:]
	}
	return n, b, spaced && digits > 0
}

func pgmSpace(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }
