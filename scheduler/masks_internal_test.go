package scheduler

import (
	"errors"
	"fmt"
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

// TestMatchUnderOneMask: a search finds frames that were taken under the mask of
// what is searched for, that have a hash, and enough detail for one.
func TestMatchUnderOneMask(t *testing.T) {
	st, _, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close() //nolint:errcheck // nothing is kept
	ch := store.Batch{Sites: []fleet.Site{{ID: "lab"}}, Cameras: []fleet.Camera{{ID: 1, Site: "lab", State: fleet.Approved}}}
	searched := fleet.Fingerprint{PDQ: fleet.PDQ{1, 2, 3}, PDQQuality: 99}
	for n, f := range []fleet.Fingerprint{
		{PDQ: searched.PDQ, PDQQuality: 99},
		{PDQ: searched.PDQ, PDQQuality: 99, Mask: 5},
		{PDQ: searched.PDQ, PDQQuality: 99, Mask: 7},
		{PDQ: fleet.PDQ{1, 2, 2}, PDQQuality: 50, Mask: 5}, // a bit apart
		{PDQ: searched.PDQ, PDQQuality: 49, Mask: 5},
		{}, // a part of the picture is missing
		{Mask: 5},
	} {
		c := fleet.Capture{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 1, Nominal: fleet.Instant(1000 * n)}, Outcome: fleet.Captured, At: fleet.Instant(1000*n + 1), Attempts: 1, Agent: "agt-1", Protocol: fleet.Snapshot}
		c.Reading = fleet.Reading{Width: 640, Height: 360, Codec: fleet.JPEG, Fingerprint: f}
		ch.Captures = append(ch.Captures, c)
	}
	if err := st.Commit(t.Context(), &ch); err != nil {
		t.Fatal(err)
	}
	s := &Scheduler{store: st}
	for mask, want := range map[fleet.MaskSum]string{0: "0+0 ", 5: "1+0 3+1 ", 7: "2+0 ", 9: ""} {
		searched.Mask = mask
		found, err := s.Match(t.Context(), searched, MatchOptions{})
		got := ""
		for _, m := range found {
			got += fmt.Sprintf("%d+%d ", m.Occurrence.Nominal/1000, m.Distance)
		}
		if err != nil || got != want {
			t.Errorf("under %q frames %q are found, %v, want %q", mask, got, err, want)
		}
	}
	for _, f := range []fleet.Fingerprint{{}, {Mask: 5}} {
		if found, err := s.Match(t.Context(), f, MatchOptions{Radius: 128}); err == nil {
			t.Errorf("a picture without a hash finds %d", len(found))
		}
	}
}
