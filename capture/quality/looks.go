package quality

const (
	sameLook   = 0.6 // so alike, the other background need not be asked
	otherLook  = 0.5 // less, and an ordinary frame may begin a background of its own
	youngAlike = 0.4 // so alike to the few frames of a young one, of which nobody knows yet how alike they usually are
)

// look compares the frame with what the camera is known to show.
func (f *frame) look() {
	f.bands = gradients(f.Scores)
	f.now.fill(f.plane)
	last := int(f.state.look)
	for _, i := range [looks]int{last, looks - 1 - last} {
		if f.state.seen[i] == 0 || f.known && f.sight.alike >= sameLook {
			continue
		}
		var then structure
		then.fill(&f.state.background[i])
		f.met[i].compare(&then, &f.now)
		if f.state.seen[i] <= blocksFrom { // none but those that made it
			s := f.met[i].meet(nil)
			f.young[i] = s.enough() && s.alike >= youngAlike
			continue
		}
		f.sights[i], f.asked[i] = f.met[i].meet(&f.state.alike[i]), true
		if f.state.seen[i] >= learned && (!f.known || f.sights[i].alike > f.sight.alike) {
			f.best, f.sight, f.known = i, f.sights[i], true
		}
	}
	bin, _ := f.state.light()
	f.due = f.known && f.sight.enough() && (f.state.counts[bin] >= learned || f.untimely())
	f.sure = f.due
	for i, n := range f.state.seen {
		if n < learned && f.like(i) {
			f.sure = false // a look that is being learned
		}
	}
}

// untimely says that it is not the time for a light that nobody has seen: around
// this hour it usually is otherwise, or, where that is between the two, more
// frames are known of it and its neighbors than there were by this light at all,
// so that they were by the other. A lamp-lit street may have nights that count as
// days, and what is dark before its camera is no first night. In an hour after
// which none is known it may be one.
func (f *frame) untimely() bool {
	s := f.state
	if s.counts[f.hour] == 0 {
		return false
	}
	if usual, ok := s.lightAt(f.hour); ok && s.isNight(usual) != s.night {
		return true
	}
	bin, _ := s.light()
	return s.counts[(f.hour+1)%24] > 0 && s.framesAround(f.hour) > int(s.counts[bin])
}

// like says whether the frame shows what background i does.
func (f *frame) like(i int) bool {
	return f.young[i] || f.asked[i] && f.sights[i].enough() && f.sights[i].alike >= otherLook
}

// place is which background an ordinary frame belongs to: the one that it is
// like; or, when it is like none and there was no reason to expect one, one that
// is begun with it. By a light and at an hour that are known a frame is odd and
// no look: something stands before the camera.
func (f *frame) place() int {
	s := f.state
	best, alike := int(s.look), -1.0
	for i, v := range f.sights {
		if f.asked[i] && v.enough() && v.alike > alike {
			best, alike = i, v.alike
		}
	}
	if alike >= otherLook || s.seen[best] < blocksFrom {
		return best
	}
	for i, young := range f.young {
		if young {
			return i
		}
	}
	if !f.sights[best].enough() || f.due && s.counts[f.hour] > 0 && s.counts[(f.hour+1)%24] > 0 {
		return best
	}
	bin, plane := s.light()
	rare := 0
	if s.seen[1] < s.seen[0] || s.seen[1] == s.seen[0] && best == 0 {
		rare = 1
	}
	for i, n := range s.seen {
		if n > 0 && n < learned && s.spans[i]&byLight(plane) != 0 {
			return i
		}
	}
	switch {
	case s.seen[rare] == 0:
		return rare
	case s.seen[rare] < learned, s.counts[bin] < learned:
		// This light is new, and both were seen by the other: the rarer one was no
		// look, but something odd that stayed.
		s.forget(rare)
		return rare
	}
	return best
}

// span is when the frames came that a look which is being learned was seen in:
// a bit for each hour of the day, and one for each light.
type span uint32

func byHour(hour int) span   { return 1 << hour }
func byLight(plane int) span { return 1 << (24 + plane) }

const allSpans = 1<<26 - 1

// forget empties a background.
func (s *State) forget(i int) {
	s.seen[i], s.spans[i], s.alike[i], s.background[i] = 0, 0, [Blocks * Blocks]uint8{}, Plane{}
}

// settle notes that an ordinary frame of an hour went into a background. The
// other one, if it is being learned, loses a frame where it was seen by the same
// light at the same hour: what was no look after all is forgotten, and one that
// has its own time of the day may take several days.
func (s *State) settle(look, hour int) {
	_, plane := s.light()
	s.look = uint8(look)
	if s.spans[look] |= byHour(hour) | byLight(plane); s.seen[look] >= learned {
		s.spans[look] = 0
	}
	other := looks - 1 - look
	if n := s.seen[other]; n == 0 || n >= learned || s.spans[other]&byHour(hour) == 0 || s.spans[other]&byLight(plane) == 0 {
		return
	}
	if s.seen[other]--; s.seen[other] == 0 {
		s.forget(other)
	}
}
