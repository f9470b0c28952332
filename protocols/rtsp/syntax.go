package rtsp

import "bytes"

// syntax is what H.264 and H.265 differ in, as far as a whole key frame asks.
type syntax struct {
	name   string
	header int // bytes of a NAL unit's header
	kind   func(nal []byte) byte
	slice  func(kind byte) bool
	key    func(kind byte) bool
	sets   []byte // parameter sets, in the order in which they must stand
	drop   []byte // units that say nothing about one lone picture
	sei    byte
	peek   func(payload []byte) (kind, first byte, ok bool)
}

// goesOn reports whether an RTP payload belongs to the picture before it: its
// first unit is a slice, and not the first of a picture, or the later part of
// a unit.
func (x *syntax) goesOn(payload []byte) bool {
	kind, first, ok := x.peek(payload)
	return !ok || x.slice(kind) && (first&0x80 == 0 || x == h264 && (kind == 3 || kind == 4)) // partitions B and C
}

// peek264 returns the kind of a payload's first unit and the byte behind its
// header; false for a later fragment (RFC 6184, 5.6 to 5.8).
func peek264(p []byte) (kind, first byte, ok bool) {
	const stapA, fuA = 24, 28
	if len(p) > 0 {
		switch p[0] & 0x1f {
		case fuA:
			if len(p) < 3 || p[1]&0x80 == 0 {
				return 0, 0, false
			}
			return p[1] & 0x1f, p[2], true
		case stapA:
			p = p[min(3, len(p)):]
		}
	}
	if len(p) < 2 {
		return 0, 0, true // it belongs to nothing
	}
	return p[0] & 0x1f, p[1], true
}

// peek265 is peek264 for RFC 7798, 4.4.
func peek265(p []byte) (kind, first byte, ok bool) {
	const ap, fu = 48, 49
	if len(p) > 0 {
		switch p[0] >> 1 & 0x3f {
		case fu:
			if len(p) < 4 || p[2]&0x80 == 0 {
				return 0, 0, false
			}
			return p[2] & 0x3f, p[3], true
		case ap:
			p = p[min(4, len(p)):]
		}
	}
	if len(p) < 3 {
		return 63, 0, true // it belongs to nothing
	}
	return p[0] >> 1 & 0x3f, p[2], true
}

var (
	h264 = &syntax{
		name:   "H.264",
		header: 1,
		kind:   func(nal []byte) byte { return nal[0] & 0x1f },
		slice:  func(k byte) bool { return k >= 1 && k <= 5 },
		key:    func(k byte) bool { return k == 5 },
		sets:   []byte{7, 8},          // SPS, PPS
		drop:   []byte{9, 10, 11, 12}, // delimiter, ends of sequence and stream, filler
		sei:    6,
		peek:   peek264,
	}
	h265 = &syntax{
		name:   "H.265",
		header: 2,
		kind:   func(nal []byte) byte { return nal[0] >> 1 & 0x3f },
		slice:  func(k byte) bool { return k < 32 },
		key:    func(k byte) bool { return k >= 16 && k <= 21 }, // BLA, IDR, CRA
		sets:   []byte{32, 33, 34},                              // VPS, SPS, PPS
		drop:   []byte{35, 36, 37, 38},
		sei:    39,
		peek:   peek265,
	}
)

// recoversAtOnce reports whether an H.264 picture is one that a decoder may
// begin with although it is no IDR picture: a recovery point that asks for no
// further frames, in slices that refer to no other picture. Encoders with open
// groups of pictures send such key frames, and some no others.
func recoversAtOnce(units [][]byte) bool {
	point, slices := false, 0
	for _, nal := range units {
		switch k := h264.kind(nal); {
		case k == h264.sei:
			if n, ok := recoveryFrames(nal); ok && n == 0 {
				point = true
			}
		case h264.slice(k):
			if k != 1 || !intra(nal) {
				return false
			}
			slices++
		}
	}
	return point && slices > 0
}

// intra reports whether an H.264 slice is of type I (7.4.3: 2 or 7).
func intra(nal []byte) bool {
	b := bits{data: unescaped(nal[1:], 16)}
	_, ok := b.golomb() // first_mb_in_slice
	kind, also := b.golomb()
	return ok && also && (kind == 2 || kind == 7)
}

// recoveryFrames returns recovery_frame_cnt of an H.264 SEI unit that holds a
// recovery point message (D.1.8).
func recoveryFrames(nal []byte) (int, bool) {
	const recoveryPoint = 6
	p := unescaped(nal[1:], 1024)
	for len(p) > 2 { // one message needs two bytes, and the trailing bits one
		kind, size := 0, 0
		for _, v := range []*int{&kind, &size} {
			for len(p) > 0 && p[0] == 0xff {
				*v += 255
				p = p[1:]
			}
			if len(p) == 0 {
				return 0, false
			}
			*v += int(p[0])
			p = p[1:]
		}
		size = min(size, len(p))
		if kind == recoveryPoint {
			b := bits{data: p[:size]}
			return b.golomb()
		}
		p = p[size:]
	}
	return 0, false
}

// unescaped returns at most n bytes of a unit's payload without its emulation
// prevention bytes (7.4.1).
func unescaped(p []byte, n int) []byte {
	p = p[:min(len(p), n)]
	if !bytes.Contains(p, []byte{0, 0, 3}) {
		return p
	}
	out, zeros := make([]byte, 0, len(p)), 0
	for _, c := range p {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if zeros++; c != 0 {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}

// bits reads a bit at a time, highest first.
type bits struct {
	data []byte
	at   int
}

func (b *bits) bit() (int, bool) {
	if b.at >= 8*len(b.data) {
		return 0, false
	}
	v := b.data[b.at/8] >> (7 - b.at%8) & 1
	b.at++
	return int(v), true
}

// golomb reads an unsigned Exp-Golomb number (9.1) of less than 16 bits.
func (b *bits) golomb() (int, bool) {
	zeros := 0
	for {
		v, ok := b.bit()
		if !ok || zeros > 15 {
			return 0, false
		}
		if v == 1 {
			break
		}
		zeros++
	}
	n := 1
	for range zeros {
		v, ok := b.bit()
		if !ok {
			return 0, false
		}
		n = n<<1 | v
	}
	return n - 1, true
}
