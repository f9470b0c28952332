package h265

// residual is residual_coding(), 7.3.8.11, of a block of log2 a side of color
// component c.
func (w *walk) residual(log2, c, scanIdx int) {
	if w.broken {
		return
	}
	color := min(c, 1)
	if w.transformSkip && !w.transBypass && log2 == 2 {
		w.bin(ctxTransformSkip + color)
	}
	lastX, lastY := w.last(log2, color)
	if scanIdx == scanVertical {
		lastX, lastY = lastY, lastX
	}
	if lastX>>log2 != 0 || lastY>>log2 != 0 {
		w.broken = true
		return
	}
	subs, inner := scans[log2-2][scanIdx], scans[2][scanIdx]
	side := 1 << (log2 - 2)
	lastSub := indexOf(subs, lastX>>2, lastY>>2)
	lastPos := indexOf(inner, lastX&3, lastY&3)
	w.csb = [64]bool{}
	greater := 1 // greater1Ctx, kept from one sub-block to the next
	for i := lastSub; i >= 0; i-- {
		sx, sy := int(subs[i]&15), int(subs[i]>>4)
		around := 0 // csbfCtx: 1 on the right, 2 below
		if sx+1 < side && w.csb[sy<<3|sx+1] {
			around = 1
		}
		if sy+1 < side && w.csb[(sy+1)<<3|sx] {
			around |= 2
		}
		coded, infer := true, false
		if i < lastSub && i > 0 {
			coded = w.bin(ctxCodedSub+2*color+min(around, 1)) == 1
			infer = true
		}
		if !coded {
			continue
		}
		w.csb[sy<<3|sx] = true
		var at [16]uint8 // the places of the coefficients, backwards
		n, from := 0, 15
		if i == lastSub {
			at[0], n, from = uint8(lastPos), 1, lastPos-1
		}
		for k := from; k >= 0; k-- {
			if k == 0 && infer {
				at[n] = 0 // none of the others is there
				n++
				break
			}
			inc := sigContext(log2, color, scanIdx, sx|sy, int(inner[k]&15), int(inner[k]>>4), i == 0 && k == 0, around)
			if w.bin(ctxSig+inc) == 1 {
				at[n] = uint8(k)
				n++
				infer = false
			}
		}
		if n > 0 {
			greater = w.levels(at[:n], i, i == lastSub, color, greater)
		}
		if w.broken {
			return
		}
	}
}

func indexOf(scan []uint8, x, y int) int {
	for i, v := range scan {
		if int(v) == y<<4|x {
			return i
		}
	}
	return 0 // not reached: the scan has all places
}

// last reads the place of the last coefficient.
func (w *walk) last(log2, color int) (x, y int) {
	offset, shift := 3*(log2-2)+(log2-1)>>2, (log2+1)>>2
	if color > 0 {
		offset, shift = 15, log2-2
	}
	prefix := func(ctx int) int {
		n := 0
		for n < 2*log2-1 && w.bin(ctx+offset+n>>shift) == 1 {
			n++
		}
		return n
	}
	suffix := func(p int) int {
		if p <= 3 {
			return p
		}
		n := p>>1 - 1
		return (2+p&1)<<n + w.Bypasses(n)
	}
	px, py := prefix(ctxLastX), prefix(ctxLastY)
	x = suffix(px)
	return x, suffix(py)
}

// sigContext is ctxInc of sig_coeff_flag, 9.3.4.2.5, at x, y in a sub-block that
// is the first one when sub is 0.
func sigContext(log2, color, scanIdx, sub, x, y int, dc bool, around int) int {
	inc := 0
	switch {
	case log2 == 2:
		inc = int(sigSmall[y<<2|x])
	case dc:
	default:
		switch around {
		case 0:
			if x+y == 0 {
				inc = 2
			} else if x+y < 3 {
				inc = 1
			}
		case 1:
			inc = max(2-y, 0)
		case 2:
			inc = max(2-x, 0)
		default:
			inc = 2
		}
		switch {
		case color > 0 && log2 == 3:
			inc += 9
		case color > 0:
			inc += 12
		default:
			if sub != 0 {
				inc += 3
			}
			switch {
			case log2 != 3:
				inc += 21
			case scanIdx == scanDiagonal:
				inc += 9
			default:
				inc += 15
			}
		}
	}
	return inc + 27*color
}

// levels reads the values of a sub-block's coefficients, which stand at the
// places of the scan in at, the last one first. It returns greater1Ctx.
func (w *walk) levels(at []uint8, i int, first bool, color, greater int) int {
	set := 0
	if i > 0 && color == 0 {
		set = 2
	}
	if !first && greater == 0 {
		set++
	}
	greater = 1
	var base [16]int
	second := -1 // the first one that is greater than 1
	for k := range at {
		base[k] = 1
		if k >= 8 {
			continue
		}
		if w.bin(ctxGreater1+16*color+4*set+greater) == 1 {
			base[k] = 2
			if greater = 0; second < 0 {
				second = k
			}
		} else if greater > 0 && greater < 3 {
			greater++
		}
	}
	if second >= 0 {
		base[second] += w.bin(ctxGreater2 + 4*color + set)
	}
	signs := len(at)
	if w.signHiding && !w.transBypass && at[0]-at[len(at)-1] > 3 {
		signs--
	}
	w.Bypasses(signs)
	rice := 0
	for k := range at {
		most := 1 // what base can say
		if k < 8 {
			if most = 2; k == second {
				most = 3
			}
		}
		if base[k] != most {
			continue
		}
		v := base[k] + w.remaining(rice)
		if v > 1<<15 {
			w.broken = true // beyond CoeffMinY, 7.4.9.11
			return greater
		}
		if v > 3<<rice {
			rice = min(rice+1, 4)
		}
	}
	return greater
}

// remaining reads coeff_abs_level_remaining, 9.3.3.11.
func (w *walk) remaining(rice int) int {
	prefix := 0
	for w.Bypass() == 1 {
		if prefix++; prefix > 20 {
			return 1 << 16 // more than any level has
		}
	}
	if prefix <= 3 {
		return prefix<<rice + w.Bypasses(rice)
	}
	n := prefix - 3
	return (1<<n+2)<<rice + w.Bypasses(n+rice)
}
