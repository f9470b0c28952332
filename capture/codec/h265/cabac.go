package h265

import "github.com/shutterfleet/shutterfleet/capture/codec/cabac"

// contexts are all context variables, by the constants that begin with ctx.
type contexts [contextCount]cabac.Context

// init is 9.3.2.2 for initType 0, that of I slices.
func (s *contexts) init(qp int) {
	for i, v := range initValues {
		s[i] = cabac.Init(int(v>>4)*5-45, int(v&15)<<3-16, qp)
	}
}

// bin decodes a decision with a context.
func (w *walk) bin(ctx int) int { return w.Bin(&w.state[ctx]) }

// aligned says whether behind a true Terminate there is what the standard has
// there, at the end and before another substream: a one, and zeros to the end of
// the byte.
func (w *walk) aligned() bool {
	last := w.Taken() - 1
	return last <= w.end|7 && w.data[last>>3]<<(last&7) == 0x80
}

// next begins with the substream behind a true Terminate.
func (w *walk) next() bool {
	if !w.aligned() {
		return false
	}
	w.Start(w.data, w.NextByte())
	return true
}
