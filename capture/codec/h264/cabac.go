package h264

import "github.com/shutterfleet/shutterfleet/capture/codec/cabac"

// cabacReader reads what is coded with CABAC: the engine, and the context
// variables by ctxIdx.
type cabacReader struct {
	cabac.Engine
	state [512]cabac.Context
}

// initContexts is 9.3.1.1 for I slices.
func (c *cabacReader) initContexts(qp int) {
	for i, mn := range contexts {
		c.state[i] = cabac.Init(int(mn.m), int(mn.n), qp)
	}
}

// bin decodes a decision with a context.
func (c *cabacReader) bin(ctx int) int { return c.Bin(&c.state[ctx&511]) }
