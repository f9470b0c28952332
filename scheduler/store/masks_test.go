package store

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestMaskRows(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	setup(t, s)
	half := &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.5, Height: 1}}, Polygons: [][]fleet.Point{{{X: 0.1, Y: 1.0 / 3}, {X: 1}, {Y: 1}}}}
	want := []Mask{{Camera: cam, Revision: 2, Shapes: half, By: "ann", At: 77}, {Camera: 5, Revision: 3, By: "bob", At: 78}}
	commit(t, s, Batch{Masks: []Mask{{Camera: cam, Revision: 1, By: "bob", At: 5}}})
	commit(t, s, Batch{Masks: want})
	if err := s.Begin().Write(t.Context()); err != nil { // masks are no part of what a checkpoint sums up
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, st := open(t, dir)
	if !reflect.DeepEqual(st.Masks, want) || st.Masks[0].Shapes.Sum() != half.Sum() {
		t.Errorf("%+v", st.Masks)
	}
	// What is not understood is not taken for nothing.
	for _, body := range []string{"{", `{"Revision":1,"Shapes":{"rectangles":[{"x":0,"y":0,"width":9,"height":9}]}}`} {
		if _, err := s.db.ExecContext(t.Context(), "UPDATE masks SET body = ? WHERE camera = 5", body); err != nil {
			t.Fatal(err)
		}
		var found []Mask
		if err := loadMasks(t.Context(), s.db, &found); err == nil || !strings.Contains(err.Error(), "mask of camera "+fleet.CameraID(5).String()) {
			t.Errorf("%s is read as %+v: %v", body, found, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(context.Background(), dir); err == nil {
		t.Error("a store whose masks cannot be read opens")
	}
}

// TestThumbnailsUnderMasks: a thumbnail is found under its own mask only, one
// under another mask takes its place whenever it was made, and what is dropped
// is not in the files any more.
func TestThumbnailsUnderMasks(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	secret := bytes.Repeat([]byte("what nobody must see "), 700)
	put := func(at fleet.Instant, mask fleet.MaskSum, jpeg []byte) {
		t.Helper()
		if err := s.PutThumbnail(t.Context(), cam, at, mask, jpeg); err != nil {
			t.Fatal(err)
		}
	}
	put(20, 0, secret)
	put(10, 7, []byte("masked, and read by a slow agent"))
	if b, f, err := s.Thumbnail(t.Context(), cam); err != nil || f != (FrameInfo{10, 7}) || !strings.HasPrefix(string(b), "masked") || s.FrameAt(cam, 0) != 0 || s.FrameAt(cam, 7) != 10 {
		t.Errorf("%q %+v %v", b, f, err)
	}
	put(30, 0, secret)
	if err := s.DropThumbnail(t.Context(), cam, 0); err != nil || s.FrameAt(cam, 0) != 30 {
		t.Errorf("the thumbnail of now was dropped: %v", err)
	}
	if err := s.DropThumbnail(t.Context(), cam, 7); err != nil || s.FrameAt(cam, 0) != 0 {
		t.Errorf("the thumbnail of before is there: %v", err)
	}
	if b, _, err := s.Thumbnail(t.Context(), cam); b != nil || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	gone(t, dir, "nobody must see")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// gone looks for a text in the files of the thumbnails.
func gone(t *testing.T, dir, text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "thumbnails.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte(text)); n > 0 {
			t.Errorf("%s holds %d pieces of what was dropped", filepath.Base(f), n)
		}
	}
}

// TestNoPieceOfAThumbnailIsLeft: what a smaller thumbnail left of a larger one
// that it took the place of is wiped, too, whichever mask the smaller was made
// under, and of whichever camera.
func TestNoPieceOfAThumbnailIsLeft(t *testing.T) {
	const secret = "what nobody must see "
	for name, later := range map[string]struct {
		mask  fleet.MaskSum
		bytes int
	}{
		"a smaller one without a mask":  {0, 5000},
		"a tiny one without a mask":     {0, 50},
		"one under the mask came first": {7, 5000},
		"a tiny one under the mask":     {7, 50},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := open(t, dir)
			defer s.Close() //nolint:errcheck // it is only read
			put := func(camera fleet.CameraID, at fleet.Instant, mask fleet.MaskSum, jpeg []byte) {
				t.Helper()
				if err := s.PutThumbnail(t.Context(), camera, at, mask, jpeg); err != nil {
					t.Fatal(err)
				}
			}
			plain := bytes.Repeat([]byte("all may see"), 1200)
			for id := range fleet.CameraID(20) {
				put(100+id, 10, 0, plain)
			}
			put(cam, 20, 0, bytes.Repeat([]byte(secret), 2000))
			put(cam, 30, later.mask, bytes.Repeat([]byte("x"), later.bytes))
			if err := s.DropThumbnail(t.Context(), cam, 7); err != nil {
				t.Fatal(err)
			}
			gone(t, dir, secret[:9])
			for id := range fleet.CameraID(20) {
				if b, f, err := s.Thumbnail(t.Context(), 100+id); err != nil || f.At != 10 || !bytes.Equal(b, plain) {
					t.Fatalf("another camera's: %d bytes, %+v, %v", len(b), f, err)
				}
			}
			if at := s.FrameAt(cam, 7); (at == 30) != (later.mask == 7) {
				t.Errorf("under the mask: %v", at)
			}
		})
	}
}

// TestOlderThumbnails: files of builds that knew no masks are taken over.
func TestOlderThumbnails(t *testing.T) {
	dir := t.TempDir()
	old, err := sql.Open("sqlite", filepath.Join(dir, "thumbnails.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.ExecContext(t.Context(), `CREATE TABLE thumbnails (camera INTEGER PRIMARY KEY, at INTEGER NOT NULL, jpeg BLOB NOT NULL);
		INSERT INTO thumbnails VALUES (5, 10, ?); REPLACE INTO thumbnails VALUES (5, 20, 'picture')`, bytes.Repeat([]byte("what a smaller picture left "), 1000)); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, _ := open(t, dir)
		gone(t, dir, "smaller picture")
		if b, f, err := s.Thumbnail(t.Context(), 5); err != nil || string(b) != "picture" || f != (FrameInfo{At: 20}) || s.FrameAt(5, 0) != 20 {
			t.Errorf("%q %+v %v", b, f, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFingerprintsUnderMasks: hashes are compared with those under the same mask.
func TestFingerprintsUnderMasks(t *testing.T) {
	s, _ := open(t, t.TempDir())
	defer s.Close()
	setup(t, s)
	taken := []fleet.Capture{captured(1), captured(2), captured(3)}
	taken[1].Reading.Fingerprint.Mask = 7
	commit(t, s, Batch{Captures: taken})
	for mask, want := range map[fleet.MaskSum][]fleet.Instant{0: {3000, 1000}, 7: {2000}, 8: nil} {
		var got []fleet.Instant
		if err := s.Fingerprints(t.Context(), 50, mask, func(o fleet.Occurrence, _ fleet.Instant, _ *fleet.PDQ) { got = append(got, o.Nominal) }); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("under mask %d: %v, want %v", mask, got, want)
		}
	}
}
