package runner

import "cmp"

// slot is what kind of slot a camera needs beside a common one. A camera that
// failed last time, or never gave a picture, takes one of the few of its kind:
// silent cameras hold a slot until their deadline, and so they can never hold
// all of them.
type slot uint8

const (
	common slot = iota
	unproven
	suspect
)

// noneOfItsKind reports whether there are slots, but none for cameras like g's.
func (r *Runner) noneOfItsKind(g *group) bool { return r.used < r.limit.now() && !r.hasSlot(g) }

// waitsForItsKind reports whether slots for cameras like g's are fewer than all
// and taken: then the measured rate says nothing about g's turn.
func (r *Runner) waitsForItsKind(g *group) bool {
	switch g.camera.kind() {
	case suspect:
		return r.room(suspect) < r.limit.now() && r.suspects >= r.room(suspect)
	case unproven:
		return r.room(unproven) < r.limit.now() && r.unproven >= r.room(unproven)
	}
	return false
}

// room returns how many slots there are for cameras of a kind.
func (r *Runner) room(k slot) int {
	switch k {
	case suspect:
		return cmp.Or(r.opts.Suspects, max(1, r.limit.now()/4))
	case unproven:
		return cmp.Or(r.opts.Unproven, max(1, r.limit.now()/2))
	}
	return r.limit.now()
}

func (r *Runner) hasSlot(g *group) bool {
	switch g.camera.kind() {
	case suspect:
		return r.suspects < r.room(suspect)
	case unproven:
		return r.unproven < r.room(unproven)
	}
	return true
}
