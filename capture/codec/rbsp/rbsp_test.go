package rbsp

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// unescaped is Unescape byte by byte: a 3 behind two zeros is left out.
func unescaped(payload []byte) (out []byte) {
	zeros := 0
	for _, b := range payload {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		out = append(out, b)
		if zeros++; b != 0 {
			zeros = 0
		}
	}
	for len(out) > 0 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	return out
}

// escaped puts emulation prevention bytes into an RBSP, as encoders do.
func escaped(rbsp []byte) (out []byte) {
	zeros := 0
	for _, b := range rbsp {
		if zeros == 2 && b <= 3 {
			out = append(out, 3)
			zeros = 0
		}
		out = append(out, b)
		if zeros++; b != 0 {
			zeros = 0
		}
	}
	if zeros == 2 { // cabac_zero_words: a NAL unit does not end with a zero
		out = append(out, 3)
	}
	return out
}

// payloads draws bytes of which many are zeros and threes.
var payloads = rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte{0, 0, 0, 1, 3, 3}), rapid.Byte()), 0, 80)

func TestUnescape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload, before := payloads.Draw(t, "payload"), payloads.Draw(t, "before")
		got := Unescape(slices.Clone(before), payload)
		if want := slices.Concat(before, unescaped(payload), make([]byte, Padding)); !bytes.Equal(got, want) {
			t.Fatalf("Unescape(%x, %x) = %x, want %x", before, payload, got, want)
		}
		if len(got) > len(before)+len(payload)+Padding {
			t.Errorf("%d bytes behind %d became %d", len(payload), len(before), len(got))
		}
		want := bytes.TrimRight(payload, "\x00")
		if got := Unescape(nil, escaped(payload)); !bytes.Equal(got[:len(got)-Padding], want) {
			t.Errorf("of %x, written %x, came %x", payload, escaped(payload), got)
		}
	})
}

// model reads an RBSP of single bits.
type model struct {
	bits []byte
	pos  int
}

func newModel(payload []byte) *model {
	m := &model{}
	for _, b := range unescaped(payload) {
		for i := 7; i >= 0; i-- {
			m.bits = append(m.bits, b>>i&1)
		}
	}
	return m
}

func (m *model) end() int { return max(bytes.LastIndexByte(m.bits, 1), 0) }

func (m *model) u(n int) (v uint64) {
	for range n {
		v <<= 1
		if m.pos < len(m.bits) {
			v |= uint64(m.bits[m.pos])
		}
		m.pos++
	}
	return v
}

func (m *model) ue() uint64 {
	zeros, from := 0, m.pos
	for zeros < 32 && m.u(1) == 0 {
		zeros++
	}
	if zeros == 32 { // no code has as many: all that matters is that it goes on
		m.pos = from + 63
		return Largest
	}
	return min(1<<zeros-1+m.u(zeros), Largest)
}

func (m *model) se() int64 {
	k := m.ue()
	v := int64((k + 1) / 2) // (-1)^(k+1) * Ceil(k/2)
	if k&1 == 0 {
		return -v
	}
	return v
}

// read makes both read alike: each step is what, and how much.
func read(t rapid.TB, payload, steps []byte) {
	t.Helper()
	m := newModel(payload)
	var r Reader
	r.Open([]byte{1, 2, 3}) // what was there before
	r.Skip(5)
	r.Open(payload)
	if r.Pos != 0 || r.End != m.end() || 8*r.Len() != len(m.bits) {
		t.Fatalf("%x begins at %d, ends at %d and has %d bytes, want 0, %d and %d bits", payload, r.Pos, r.End, r.Len(), m.end(), len(m.bits))
	}
	for i, step := range steps {
		n := int(step >> 3)
		var got, want int64
		switch step & 7 {
		case 0:
			got, want = int64(r.U(n)), int64(m.u(n))
		case 1:
			got, want = int64(r.U(32)), int64(m.u(32))
		case 2:
			if r.Flag() {
				got = 1
			}
			want = int64(m.u(1))
		case 3, 4:
			got, want = int64(r.UE()), int64(m.ue())
		case 5:
			got, want = int64(r.SE()), m.se()
		case 6:
			got, want = int64(r.Peek()), int64(m.u(32))
			m.pos += n - 32
			r.Skip(n)
		case 7:
			for m.pos%8 != 0 {
				m.pos++
			}
			got, want = int64(r.Align()), int64(m.pos/8)
		}
		if got != want || r.Pos != m.pos || r.More() != (m.pos < m.end()) || r.Overrun() != (m.pos > m.end()) {
			t.Fatalf("%x, step %d, %#x: %d up to bit %d, more %v, overrun %v, want %d up to %d of %d", payload, i, step, got, r.Pos, r.More(), r.Overrun(), want, m.pos, m.end())
		}
	}
}

func TestReader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		read(t, payloads.Draw(t, "payload"), rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "steps"))
	})
}

// TestLongCodes has the codes of Table 9-2's pattern around the places where their
// length changes, up to the longest there is.
func TestLongCodes(t *testing.T) {
	for zeros := range 32 {
		for _, info := range []uint64{0, 1<<zeros - 1, 1 << zeros / 2} {
			var payload []byte
			put, n := uint64(1)<<zeros|info, 2*zeros+1 // the code, in so many bits
			put = put<<1 | 1                           // the stop bit
			for i := n; i >= 0; i -= 8 {
				b := byte(0)
				for k := range 8 {
					b <<= 1
					if i-k >= 0 {
						b |= byte(put >> (i - k) & 1)
					}
				}
				payload = append(payload, b)
			}
			var r Reader
			r.Open(escaped(payload))
			if got, want := uint64(r.UE()), min(1<<zeros-1+info, Largest); got != want || r.Pos != n || r.Pos != r.End {
				t.Errorf("%d zeros and %d: %d up to bit %d of %d, want %d up to %d", zeros, info, got, r.Pos, r.End, want, n)
			}
		}
	}
}

// TestEmpty reads what was never opened, and what is nothing.
func TestEmpty(t *testing.T) {
	var never, empty Reader
	empty.Open(nil)
	for name, r := range map[string]*Reader{"never opened": &never, "empty": &empty} {
		if r.Len() != 0 || r.More() || r.Overrun() || r.U(8) != 0 || !r.Overrun() {
			t.Errorf("%s: length %d, bit %d of %d", name, r.Len(), r.Pos, r.End)
		}
	}
}

// TestOpenAgain takes memory once.
func TestOpenAgain(t *testing.T) {
	payload := escaped(bytes.Repeat([]byte{0, 0, 1, 0, 0, 0, 7}, 300))
	var r Reader
	r.Open(payload)
	if n := testing.AllocsPerRun(10, func() { r.Open(payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0x42, 0, 0, 3, 1, 0x80}, []byte{3, 4, 5, 0xFE, 0x40, 1, 2, 7})
	f.Add([]byte{0, 0, 3, 0, 0, 3, 0, 0, 3}, []byte{3, 5, 1})
	f.Add([]byte{0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE, 0x80}, []byte{3, 3})
	f.Fuzz(func(t *testing.T, payload, steps []byte) { read(t, payload, steps) })
}
