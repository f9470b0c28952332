package runner

import "time"

// limit is how many cameras are spoken to at a time. It feels for what a site's
// network bears as TCP does (RFC 5681): it doubles with each round until a
// first sign of congestion, is halved then, and grows by one a round from
// there. A round is as many tries as the limit is.
//
//	start ──one more per frame──► most
//	  └──────────sign──────► half ──one more per round──► ...
//
// A sign is a timeout or a refusal (453, 503) of a camera that was well before.
// One camera that dies is no sign of congestion: it takes two, and a sixteenth
// of a round. Tries that were under way at a cut belong to the same congestion.
type limit struct {
	least, most int

	at        float64
	threshold float64 // where doubling ends
	ended     int     // tries in this round
	signs     int     // of them
	cut       time.Time
	cuts      int
}

// signShare is the share of a round that counts as congestion.
const signShare = 16

// newLimit returns one that begins at start. With most equal to start it stays
// there: somebody chose it.
func newLimit(start, most int) limit {
	least := min(4, start)
	if most == start {
		least = start
	}
	return limit{least: least, most: most, at: float64(start), threshold: float64(most)}
}

// now returns the limit.
func (l *limit) now() int { return int(l.at) }

// growing reports whether the limit has yet to find where it ends.
func (l *limit) growing() bool { return l.at < l.threshold }

// end enters a try that held a slot since began. Pressed says that others
// waited for one, and that nothing but the limit kept them.
func (l *limit) end(began, now time.Time, frame, sign, pressed bool) {
	if began.Before(l.cut) {
		return
	}
	if l.ended++; l.ended > l.now() {
		l.ended, l.signs = 1, 0
	}
	switch {
	case sign:
		if l.signs++; l.signs < max(2, l.now()/signShare) {
			return
		}
		l.at = max(float64(l.least), l.at/2)
		l.threshold, l.cut = l.at, now
		l.ended, l.signs = 0, 0
		l.cuts++
	case frame && pressed && l.at < l.threshold:
		l.at = min(l.at+1, float64(l.most))
	case frame && pressed:
		l.at = min(l.at+1/l.at, float64(l.most))
	}
}
