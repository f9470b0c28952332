package store

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// NeedMasks notes which revisions of masks orders or standing orders ask for. A
// camera whose mask is older here, or missing, is not looked at until the next
// full list of cameras: the one that brought its mask was lost. The note is in
// memory at once, and durable with the next commit; so it is made before the
// orders are taken.
func (s *Store) NeedMasks(revisions map[fleet.CameraID]uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.needed)
	for id, revision := range revisions {
		if t := s.cameras[id]; revision > t.Mask.Revision && revision > s.needed[id] {
			if s.needed == nil {
				s.needed = map[fleet.CameraID]uint64{}
			}
			s.needed[id] = revision
			before = -1
		}
	}
	if before >= 0 {
		return nil
	}
	return s.noteNeeded()
}

// noteNeeded has the next commit write which masks are needed. Callers hold mu.
func (s *Store) noteNeeded() error {
	b, err := json.Marshal(s.needed)
	if err != nil {
		return fmt.Errorf("note which masks are needed: %w", err)
	}
	s.dirty.value(keyMasks, b)
	return nil
}

// met forgets what was asked for before a list came. Callers hold mu.
func (s *Store) met(c Cameras) error {
	before := len(s.needed)
	if c.Full {
		clear(s.needed)
	}
	for _, t := range c.Put {
		if t.Mask.Revision >= s.needed[t.Camera] {
			delete(s.needed, t.Camera)
		}
	}
	if len(s.needed) == before {
		return nil
	}
	return s.noteNeeded()
}

// Mask returns what must not be seen of a camera: nil when nothing. Its error is
// a *fleet.CameraError and says why the camera must not be looked at: nobody
// here knows what is to be hidden.
func (s *Store) Mask(id fleet.CameraID) (*fleet.Mask, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.cameras[id]
	switch needed := s.needed[id]; {
	case !ok:
		return nil, fleet.Errorf(fleet.CauseInternal, "the camera is not this agent's any more")
	case needed > t.Mask.Revision:
		return nil, fleet.Errorf(fleet.CauseMask, "the camera has a privacy mask (revision %d) that has not come to this agent yet", needed)
	case t.Mask.Unread():
		return nil, fleet.Errorf(fleet.CauseMask, "this agent cannot read the camera's privacy mask (revision %d): update it", t.Mask.Revision)
	case t.Mask.Empty():
		return nil, nil //nolint:nilnil // no mask is what most cameras have
	}
	m := t.Mask.Mask // a copy of its own: the others cost no memory
	return &m, nil
}

// NeededMasks tells which masks are asked for and have not come.
func (s *Store) NeededMasks() map[fleet.CameraID]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.needed)
}
