package cabac

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the engine as the flow charts of 9.3.3.2 and 9.3.4.3 draw it: registers
// of nine bits, and read_bits(1) wherever they say so.
type model struct {
	data        []byte
	read        int // bits
	offset, rng int
}

func (m *model) bit() int {
	b := 0
	if i := m.read >> 3; i < len(m.data) {
		b = int(m.data[i] >> (7 - m.read&7) & 1)
	}
	m.read++
	return b
}

func (m *model) start(pos int) {
	m.rng, m.offset, m.read = 510, 0, 8*pos
	for range 9 {
		m.offset = m.offset<<1 | m.bit()
	}
}

func (m *model) renorm() {
	for m.rng < 256 {
		m.rng <<= 1
		m.offset = m.offset<<1 | m.bit()
	}
}

func (m *model) decide(state, mps *int) int {
	lps := int(rangeLPS[m.rng>>6&3<<7|*state<<1])
	m.rng -= lps
	v := *mps
	if m.offset >= m.rng {
		v = 1 - v
		m.offset -= m.rng
		m.rng = lps
		if *state == 0 {
			*mps = 1 - *mps
		}
		*state = int(transIdxLPS[*state])
	} else if *state < 62 {
		*state++
	}
	m.renorm()
	return v
}

func (m *model) bypass() int {
	m.offset = m.offset<<1 | m.bit()
	if m.offset >= m.rng {
		m.offset -= m.rng
		return 1
	}
	return 0
}

func (m *model) terminate() bool {
	m.rng -= 2
	if m.offset >= m.rng {
		return true
	}
	m.renorm()
	return false
}

// padded is what an engine reads where the model reads zeros behind data.
func padded(data []byte) []byte { return append(slices.Clone(data), 0, 0, 0) }

// follow runs both through the same steps and says where they part. A step is of
// the context step&127, or one of the rest.
func follow(t rapid.TB, data []byte, pos int, contexts [128]Context, steps []byte) {
	t.Helper()
	var states, mps [128]int
	for i, c := range contexts {
		states[i], mps[i] = int(c>>1), int(c&1)
	}
	m := model{data: data}
	m.start(pos)
	var e Engine
	e.Start(padded(data), pos)
	for i, step := range steps {
		if m.offset >= m.rng {
			return // 510 or 511, which no data may begin with, 9.3.1.2, 9.3.2.5
		}
		got, want := 0, 0
		c := step & 127
		switch {
		case step < 128:
			got, want = e.Bin(&contexts[c]), m.decide(&states[c], &mps[c])
		case c < 100:
			got, want = e.Bypass(), m.bypass()
		case c < 110:
			n := int(c - 100)
			got = e.Bypasses(n)
			for range n {
				want = want<<1 | m.bypass()
			}
		default:
			end := e.Terminate()
			if end != m.terminate() {
				t.Fatalf("step %d: terminate: %v", i, end)
			}
			if end {
				if got := e.NextByte(); got != (m.read+7)/8 {
					t.Fatalf("step %d: the next byte is %d, want %d", i, got, (m.read+7)/8)
				}
				m.start(e.NextByte())
				e.Start(padded(data), e.NextByte())
			}
		}
		if got != want {
			t.Fatalf("step %d, %d: %d, want %d", i, step, got, want)
		}
		if c := contexts[c]; step < 128 && c != Context(states[step]<<1|mps[step]) {
			t.Fatalf("step %d: the context is %d, want %d", i, c, states[step]<<1|mps[step])
		}
		if offset, rng := int(e.Offset>>UnitBit), int(e.Range>>UnitBit); e.Taken() != m.read || offset != m.offset || rng != m.rng || e.Range&(1<<UnitBit-1) != 0 {
			t.Fatalf("step %d: %d bits, registers %d and %d, want %d, %d and %d", i, e.Taken(), offset, rng, m.read, m.offset, m.rng)
		}
	}
}

// anyContexts draws contexts of all states but the one that no context has.
func anyContexts(t *rapid.T) (c [128]Context) {
	for i, v := range rapid.SliceOfN(rapid.ByteRange(0, 125), 128, 128).Draw(t, "contexts") {
		c[i] = Context(v)
	}
	return c
}

// TestModel follows any data, also beyond its end, in any order of steps.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "data")
		pos := rapid.IntRange(0, len(data)).Draw(t, "pos")
		follow(t, data, pos, anyContexts(t), rapid.SliceOfN(rapid.Byte(), 0, 700).Draw(t, "steps"))
	})
}

// TestLocalRegisters decides on registers outside of the engine, and looks what
// is loaded ahead after as many decisions as RefillAt allows.
func TestLocalRegisters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := padded(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "data"))
		contexts := anyContexts(t)
		beside := contexts
		var e, local Engine
		e.Start(data, 0)
		local.Start(data, 0)
		offset, rng, ahead := local.Offset, local.Range, local.Ahead
		for i, at := range rapid.SliceOfN(rapid.ByteRange(0, 127), 0, 300).Draw(t, "steps") {
			d, o, r, taken := Decide(beside[at], offset, rng)
			beside[at] = d.Next()
			offset, rng, ahead = o, r, ahead-taken
			if i&1 == 1 && ahead < RefillAt {
				offset, ahead = local.Load(offset, ahead)
			}
			if want := e.Bin(&contexts[at]); d.Bin() != want || taken > 7 {
				t.Fatalf("step %d: %d in %d bits, want %d", i, d.Bin(), taken, want)
			}
		}
		if ahead < RefillAt {
			offset, ahead = local.Load(offset, ahead)
		}
		if local.Offset, local.Range, local.Ahead = offset, rng, ahead; beside != contexts || local.Taken() != e.Taken() || local.Offset>>UnitBit != e.Offset>>UnitBit || rng != e.Range {
			t.Errorf("registers %x, %x, %d, want %x, %x, %d", offset, rng, ahead, e.Offset, e.Range, e.Ahead)
		}
	})
}

// TestTables holds the tables to what they stand for, so that a slip of the pen
// shows: state s is a probability of 0.5 * alpha^s for the less probable symbol,
// and alpha makes that of state 62 0.01875 * alpha^-1; its part of the range is
// taken of the middle of a quarter, 256 + 64q + 32; and after it the probability
// is p * alpha + 1 - alpha.
func TestTables(t *testing.T) {
	alpha := math.Pow(0.01875/0.5, 1.0/63)
	for state := range 63 {
		p := 0.5 * math.Pow(alpha, float64(state))
		for q := range 4 {
			want := p * float64(288+64*q)
			if q == 0 {
				want = min(want, 128) // half of the least range
			}
			want = max(want, 6) // the least part
			for mps := range 2 {
				if got := rangeLPS[q<<7|state<<1|mps]; math.Abs(float64(got)-want) > 1 {
					t.Errorf("rangeLPS of state %d, quarter %d is %d, want about %.1f", state, q, got, want)
				}
			}
		}
		want := max(math.Log(2*(p*alpha+1-alpha))/math.Log(alpha), 0)
		if got := transIdxLPS[state]; math.Abs(float64(got)-want) > 1 {
			t.Errorf("transIdxLPS of state %d is %d, want about %.1f", state, got, want)
		}
	}
}

// TestInit has the first contexts of both standards' tables, and the bounds.
func TestInit(t *testing.T) {
	for _, c := range []struct {
		m, n, qp int
		want     Context
	}{
		{20, -15, 26, (63 - 17) << 1},             // mb_type, ctxIdx 0: preCtxState 17
		{2, 54, 26, (63 - 57) << 1},               // ctxIdx 1: 57
		{3, 74, 26, (78-64)<<1 | 1},               // ctxIdx 2: 78
		{0, 64, 51, 0<<1 | 1},                     // the least that has valMPS 1
		{0, 63, 51, 0 << 1},                       // and the greatest that has not
		{-28, 127, 51, (63 - 37) << 1},            // -28*51 is rounded down
		{20, -15, -3, 62 << 1},                    // clipped: the quantiser, and preCtxState
		{40, 120, 70, 62<<1 | 1},                  // likewise, at the other end
		{9*5 - 45, 9<<3 - 16, 30, (63 - 56) << 1}, // initValue 153: no slope, 56
	} {
		if got := Init(c.m, c.n, c.qp); got != c.want {
			t.Errorf("Init(%d, %d, %d) = %d, want %d", c.m, c.n, c.qp, got, c.want)
		}
	}
}

// TestEqual has an offset that is where the range is divided, with nothing but
// zeros behind: it belongs to the upper part.
func TestEqual(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		step byte
	}{
		"decision":  {[]byte{0xFA, 0x80}, 124}, // 501 of 510; the upper 9 are for the less probable symbol in state 62
		"bypass":    {[]byte{0x7F, 0x80}, 128}, // 255, and a zero: 510
		"terminate": {[]byte{0xFE}, 255},       // 508
	} {
		var e Engine
		e.Start(padded(c.data), 0)
		context := Context(124)
		upper := map[byte]func() bool{
			124: func() bool { return e.Bin(&context) == 1 },
			128: func() bool { return e.Bypass() == 1 },
			255: e.Terminate,
		}
		if !upper[c.step]() {
			t.Errorf("%s: in the lower part", name)
		}
		var contexts [128]Context
		contexts[124] = 124
		follow(t, c.data, 0, contexts, []byte{c.step, 128, 128})
	}
}

// TestStartBeyond begins where there is nothing: all is zeros.
func TestStartBeyond(t *testing.T) {
	for _, data := range [][]byte{nil, {1}, {1, 2, 3}, bytes.Repeat([]byte{0xFF}, 9)} {
		var e Engine
		e.Start(data, len(data))
		for range 100 {
			if e.Bypass() != 0 {
				t.Fatalf("%x: a one behind the end", data)
			}
		}
		if want := 8*len(data) + 109; e.Taken() != want {
			t.Errorf("%x: %d bits were taken, want %d", data, e.Taken(), want)
		}
	}
}

// TestTerminateAtEachRange: of the 255 ranges there are, two are to be doubled
// after a terminate that is false, which drawn bins seldom meet.
func TestTerminateAtEachRange(t *testing.T) {
	data := padded([]byte{0xa5, 0x5a, 0xc3, 0x3c, 0x99})
	for rng := 256; rng <= 510; rng++ {
		for offset := range rng {
			e := Engine{Range: uint64(rng) << UnitBit, Offset: uint64(offset) << UnitBit, data: data}
			e.refill()
			m := model{data: data, rng: rng, offset: offset}
			if got, want := e.Terminate(), m.terminate(); got != want {
				t.Fatalf("range %d, offset %d: %v, want %v", rng, offset, got, want)
			} else if !want && (int(e.Range>>UnitBit) != m.rng || int(e.Offset>>UnitBit) != m.offset || e.Taken() != m.read) {
				t.Fatalf("range %d, offset %d: becomes %d, %d after %d bits, want %d, %d after %d", rng, offset, e.Range>>UnitBit, e.Offset>>UnitBit, e.Taken(), m.rng, m.offset, m.read)
			}
		}
	}
}

func FuzzEngine(f *testing.F) {
	f.Add([]byte{}, []byte{0, 1, 130, 250, 2, 209})
	f.Add(bytes.Repeat([]byte{0xA5, 0x3C}, 30), bytes.Repeat([]byte{3, 5, 200, 7, 230, 120, 255}, 40))
	f.Add(bytes.Repeat([]byte{0xFF}, 40), bytes.Repeat([]byte{127, 255}, 100))
	f.Fuzz(func(t *testing.T, data, steps []byte) {
		var contexts [128]Context
		for i := range contexts {
			contexts[i] = Context(i % 126)
		}
		follow(t, data, 0, contexts, steps)
	})
}

func BenchmarkBin(b *testing.B) {
	data := make([]byte, 1<<16)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	var e Engine
	contexts := [64]Context{}
	for b.Loop() {
		e.Start(data, 0)
		for i := range 10000 {
			e.Bin(&contexts[i&63])
		}
	}
}
