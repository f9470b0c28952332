package jpeg

import (
	"cmp"
	"context"
	"errors"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// walk goes over all MCUs of a scan, one restart interval after the other. One
// component alone is coded block by block over its own size, several are
// interleaved, T.81 A.2.
//
//	interval ──broken──► its rest is gray ──► next marker that is found
func (d *Decoder) walk(ctx context.Context, comps []*component, s spectrum) error {
	mcusX, mcusY := d.mcusX, d.mcusY
	if len(comps) == 1 {
		mcusX, mcusY = comps[0].blocksX, comps[0].blocksY
	}
	total := mcusX * mcusY
	step := total
	if d.restart > 0 {
		step = d.restart
	}
	partial := d.opts.Partial && !d.progressive && len(comps) == len(d.used)
	var damage error
	missing := 0
	lost := func(from, until int) {
		missing += until - from
		for at := from; at < until; at++ {
			fill(comps, at%mcusX, at/mcusX)
		}
	}
	for at, number := 0, 0; at < total; at, number = at+step, number+1 {
		if at > 0 {
			skipped, err := d.nextInterval(number - 1)
			if err != nil || skipped > 0 {
				if damage == nil { // one text is enough: there may be a million intervals
					damage = missingMarker(number - 1)
				}
				if !partial {
					return damage
				}
			}
			if err != nil || skipped > (total-at-1)/step {
				lost(at, total)
				break
			}
			lost(at, at+skipped*step)
			at, number = at+skipped*step, number+skipped
		}
		until := min(at+step, total)
		good, err := d.interval(ctx, comps, s, at, until, mcusX, mcusY)
		if err != nil {
			if damage == nil && errors.Is(err, errCutOff) {
				err = cutOffAt(good/mcusX, mcusY)
			}
			if ce, ok := errors.AsType[*fleet.CameraError](err); !partial || !ok || ce.Cause != fleet.CauseCorrupt {
				return err
			}
			damage = cmp.Or(damage, err)
			lost(good, until)
		}
	}
	if 2*missing > total {
		return damage
	}
	d.missing = float32(missing) / float32(total)
	for _, c := range comps {
		c.seen = true
	}
	return nil
}

// Errors of a block and of an interval are values: a picture may have as many.
var (
	errBroken = codec.Corrupt("the JPEG's data is broken: a block has no end")
	errCutOff = codec.Corrupt("the JPEG's data is broken or cut off")
)

func cutOffAt(row, rows int) error {
	return codec.Corrupt("the JPEG's data is broken or cut off at row %d of %d", row, rows)
}

// interval decodes the MCUs from at until until, which predict from each other
// alone. good is the first one that is not there after an error.
func (d *Decoder) interval(ctx context.Context, comps []*component, s spectrum, at, until, mcusX, mcusY int) (good int, err error) {
	d.restarted(comps)
	mx, my, looked := at%mcusX, at/mcusX, -1
	for at < until {
		if my != looked {
			if looked = my; ctx.Err() != nil {
				return at, fleet.Errorf(fleet.CauseTimeout, "decode JPEG: %w", context.Cause(ctx))
			}
		}
		n := 1
		switch {
		case !d.progressive:
			err = d.baselineMCU(comps, mx, my)
		case s.from == 0:
			err = d.levelsMCU(comps, mx, my, s)
		case d.eobRun > 0 && s.high == 0: // nothing in so many blocks
			n = min(d.eobRun, until-at)
			d.eobRun -= n
		default:
			err = d.band(comps[0], mx, my, s)
		}
		if err != nil {
			return at, err
		}
		if d.r.overrun() {
			return at, errCutOff
		}
		at += n
		for mx += n; mx >= mcusX; my++ {
			mx -= mcusX
		}
	}
	return at, nil
}

// restarted forgets what blocks predict from their predecessors.
func (d *Decoder) restarted(comps []*component) {
	for _, c := range comps {
		c.dc = 0
	}
	d.eobRun = 0
}

// nextInterval goes to the restart marker of the number, modulo 8, or to one of
// the seven behind it when those before were lost. It is corrupt when there is
// none.
func (d *Decoder) nextInterval(number int) (skipped int, err error) {
	m, next, ok := findMarker(d.r.data, d.r.pos)
	if !ok || m < mRST0 || m > mRST7 {
		return 0, missingMarker(number)
	}
	d.r.start(next)
	return (int(m-mRST0) - number) & 7, nil
}

func missingMarker(number int) error {
	return codec.Corrupt("the JPEG's data is broken or cut off: restart marker %d is missing", number&7)
}

// fill makes the blocks of an MCU that did not come gray.
func fill(comps []*component, mx, my int) {
	for _, c := range comps {
		if !c.wanted {
			continue
		}
		h, v := c.h, c.v
		if len(comps) == 1 {
			h, v = 1, 1
		}
		for y := my * v * c.side; y < (my+1)*v*c.side; y++ {
			row := c.plane.Pix[y*c.plane.Stride+mx*h*c.side:][:h*c.side]
			for x := range row {
				row[x] = 128
			}
		}
	}
}
