package h264

import (
	"github.com/shutterfleet/shutterfleet/capture/codec/cabac"
	"github.com/shutterfleet/shutterfleet/capture/codec/cabac/cabactest"
)

// stream writes H.264 by hand, for what no encoder at hand makes: first the
// bits, then NAL units.
type stream struct {
	out  []byte
	bits []byte // of the current RBSP, one a byte
}

func (s *stream) u(n int, v uint32) {
	for i := n - 1; i >= 0; i-- {
		s.bits = append(s.bits, byte(v>>i&1))
	}
}

func (s *stream) ue(v uint32) {
	n := 0
	for (v+1)>>(n+1) > 0 {
		n++
	}
	s.u(n, 0)
	s.u(n+1, v+1)
}

func (s *stream) se(v int) {
	if v > 0 {
		s.ue(uint32(2*v - 1))
	} else {
		s.ue(uint32(-2 * v))
	}
}

func (s *stream) align(bit uint32) {
	for len(s.bits)%8 != 0 {
		s.u(1, bit)
	}
}

// nal ends the RBSP and writes it as a NAL unit with its header byte.
func (s *stream) nal(header byte, trailing bool) {
	if trailing {
		s.u(1, 1)
	}
	s.align(0)
	s.out = append(s.out, 0, 0, 0, 1, header)
	zeros := 0
	for i := 0; i < len(s.bits); i += 8 {
		b := byte(0)
		for _, v := range s.bits[i : i+8] {
			b = b<<1 | v
		}
		if zeros >= 2 && b <= 3 {
			s.out = append(s.out, 3)
			zeros = 0
		}
		s.out = append(s.out, b)
		if zeros++; b != 0 {
			zeros = 0
		}
	}
	s.bits = s.bits[:0]
}

// layout is what the hand-written streams vary.
type layout struct {
	w, h       int // in macroblocks
	interlaced bool
	mbaff      bool
	cabac      bool
	groups     uint32 // slice groups beyond the first
}

// params writes both parameter sets. Main profile, 4 bits of frame_num, no
// picture order count.
func (s *stream) params(l layout) {
	s.u(8, 77)
	s.u(16, 40)
	s.ue(0)
	s.ue(0)
	s.ue(2)
	s.ue(1)
	s.u(1, 0)
	s.ue(uint32(l.w - 1))
	if l.interlaced {
		s.ue(uint32(l.h/2 - 1))
		s.u(1, 0)
		s.u(1, bit(l.mbaff))
	} else {
		s.ue(uint32(l.h - 1))
		s.u(1, 1)
	}
	s.u(3, 4) // direct_8x8_inference; neither cropping nor VUI
	s.nal(0x67, true)

	s.ue(0)
	s.ue(0)
	s.u(1, bit(l.cabac))
	s.u(1, 0)
	s.ue(l.groups)
	s.ue(0)
	s.ue(0)
	s.u(3, 0)
	s.se(0)
	s.se(0)
	s.se(0)
	s.u(3, 0)
	s.nal(0x68, true)
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// header writes the slice header of a key frame.
func (s *stream) header(l layout, first int, kind uint32, field bool) {
	s.ue(uint32(first))
	s.ue(kind)
	s.ue(0)
	s.u(4, 0)
	if l.interlaced {
		s.u(1, bit(field))
		if field {
			s.u(1, 0)
		}
	}
	s.ue(0)
	s.u(2, 0)
	s.se(0)
}

// arithmetic codes bins into a stream, by ctxIdx.
type arithmetic struct {
	*cabactest.Encoder
	state [512]cabac.Context
}

func (s *stream) arithmetic() *arithmetic {
	var c cabacReader
	c.initContexts(26)
	return &arithmetic{cabactest.NewEncoder(func(bit int) { s.u(1, uint32(bit)) }), c.state}
}

func (a *arithmetic) bin(ctx, bin int) { a.Bin(&a.state[ctx], bin) }
