package scheduler

import (
	"errors"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// TestThumbnailIsShownUnderItsMask: whatever lies in the store, a thumbnail is
// shown under the mask of now, and under no other.
func TestThumbnailIsShownUnderItsMask(t *testing.T) {
	st, _, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close() //nolint:errcheck // nothing is kept
	s := &Scheduler{store: st, masks: map[fleet.CameraID]*mask{}}
	for _, under := range []fleet.MaskSum{0, 5, 7} {
		if err := st.PutThumbnail(t.Context(), 1, 20, under, []byte("jpeg")); err != nil {
			t.Fatal(err)
		}
		for _, now := range []fleet.MaskSum{0, 5, 7} {
			s.masks[1] = &mask{sum: now}
			b, at, err := s.Thumbnail(t.Context(), 1)
			if shown := err == nil && at == 20 && string(b) == "jpeg"; shown != (under == now) || !shown && (!errors.Is(err, ErrNotFound) || b != nil) {
				t.Errorf("made under %q, and %q is the mask: %q of %v, %v", under, now, b, at, err)
			}
		}
	}
}
