package scheduler

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// inherit is for when device b is found to be device a, whose cameras stay: what
// was hidden of b's stays hidden of the camera of a that shows the same source,
// or of the only one where each device has but one, beside what is hidden of it
// already. Where nobody can know which camera that is, it is an operator's to
// say: then inherit fails with what to do. s.mu is held.
func (s *Scheduler) inherit(ch *change, a, b *dispute, by string, now fleet.Instant) error {
	stays, goes := s.sources(a.Site, a.Device), s.camerasOf(b.Site, b.Device)
	heirs := map[fleet.CameraID]*heir{}
	for _, id := range goes {
		m := s.masks[id]
		if m == nil || m.Shapes == nil {
			continue
		}
		to := stays[s.camera(id).Source]
		if to == 0 && len(stays) == 1 && len(goes) == 1 {
			for _, only := range stays {
				to = only
			}
		}
		if to == 0 {
			if bare := s.bare(stays, s.sources(b.Site, b.Device)); bare != 0 {
				return invalid("same", "camera %s, which would go, has a privacy mask, and the device that stays has no camera of its source %q: say which of them it is. Give camera %s a mask (`cameras mask %s --file F`), and all others of its device, or take that of %s off (`cameras mask %s --clear`); then resolve again",
					id, s.camera(id).Source, bare, bare, id, id)
			}
			continue
		}
		h := heirs[to]
		if h == nil {
			h = &heir{by: m.By}
			if own := s.masks[to]; own != nil && own.Shapes != nil {
				h.shapes, h.by = own.Shapes, by
			}
			heirs[to] = h
		}
		h.shapes = h.shapes.Join(m.Shapes)
	}
	for _, to := range slices.Sorted(maps.Keys(heirs)) {
		shapes := heirs[to].shapes
		if shapes.Sum() == s.maskSum(to) {
			continue
		}
		text, err := json.Marshal(shapes)
		if err == nil {
			err = shapes.Check()
		}
		if err != nil || len(text) > fleet.MaxMaskBytes {
			return invalid("same", "camera %s would have the privacy masks of both, which are more than one may have: give it one mask that hides all of it (`cameras mask %s --file F`), take those of the others off (`cameras mask ID --clear`), and resolve again", to, to)
		}
		s.remask(ch, s.cams.byID[to], shapes, len(text), heirs[to].by, now)() // nobody undoes it if ch comes to nothing
		ch.tell(Event{Kind: "camera", Camera: to, Site: a.Site})
	}
	return nil
}

// heir is what a camera that stays is to hide.
type heir struct {
	shapes *fleet.Mask
	by     string
}

// bare returns one of the cameras that has no mask, may be photographed, and is
// not known to be another source than those that are not found among them; 0 when
// there is none. One that is enrolled later waits for an operator: see besideMask.
func (s *Scheduler) bare(cameras, known map[string]fleet.CameraID) fleet.CameraID {
	for _, id := range slices.Sorted(maps.Values(cameras)) {
		if c := s.camera(id); s.maskSum(id) == 0 && known[c.Source] == 0 && c.State != fleet.Retired && c.State != fleet.Ignored {
			return id
		}
	}
	return 0
}
