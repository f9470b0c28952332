package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// thumbSchema has what is freed within a page overwritten, which costs no page
// more. Whole pages are left to wipe: to overwrite each as it becomes free takes
// a third more writes (4,000 thumbnails of 6 to 15 kB: 118 MB and not 89).
const thumbSchema = `
PRAGMA secure_delete = FAST;
CREATE TABLE IF NOT EXISTS thumbnails (camera INTEGER PRIMARY KEY, at INTEGER NOT NULL, jpeg BLOB NOT NULL, mask INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS blank (zeros BLOB NOT NULL)`

// FrameInfo says when a camera's latest thumbnail was taken, and what was hidden
// of it. The zero FrameInfo is no thumbnail.
type FrameInfo struct {
	At   fleet.Instant
	Mask fleet.MaskSum
}

// upgradeThumbs adds what files of older builds lack, and takes from them what
// those left of pictures in pages that they freed.
func upgradeThumbs(ctx context.Context, db *sql.DB) error {
	var has bool
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_table_info('thumbnails') WHERE name = 'mask'").Scan(&has)
	if err != nil || has {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE); ALTER TABLE thumbnails ADD COLUMN mask INTEGER NOT NULL DEFAULT 0")
	return err
}

// PutThumbnail keeps jpeg as the camera's latest frame, unless a later one under
// the same mask is there. Which mask is the present one is not known here: who
// shows a thumbnail compares.
func (s *Store) PutThumbnail(ctx context.Context, camera fleet.CameraID, at fleet.Instant, mask fleet.MaskSum, jpeg []byte) error {
	s.thumbs.Lock()
	defer s.thumbs.Unlock()
	if old := s.frame(camera); old.Mask == mask && old.At > at {
		return nil
	}
	if _, err := s.thumb.ExecContext(ctx, "INSERT OR REPLACE INTO thumbnails (camera, at, jpeg, mask) VALUES (?,?,?,?)", int64(camera), at, jpeg, int64(mask)); err != nil {
		return fmt.Errorf("keep thumbnail of %s: %w", camera, err)
	}
	s.mu.Lock()
	s.frames[camera] = FrameInfo{at, mask}
	s.mu.Unlock()
	return nil
}

// DropThumbnail forgets the camera's latest frame if another mask than this one
// is on it. Its bytes are overwritten, and those of all frames that others took
// the place of: what is only deleted stays in the file and in its log until
// something else needs the room.
func (s *Store) DropThumbnail(ctx context.Context, camera fleet.CameraID, mask fleet.MaskSum) error {
	s.thumbs.Lock()
	defer s.thumbs.Unlock()
	if err := s.wipe(ctx, camera, mask); err != nil {
		return fmt.Errorf("drop thumbnail of %s: %w", camera, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frames[camera].Mask != mask {
		delete(s.frames, camera)
	}
	return nil
}

// Outdated returns the cameras whose latest frame is under another mask than now
// tells.
func (s *Store) Outdated(now func(fleet.CameraID) fleet.MaskSum) (cameras []fleet.CameraID) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, f := range s.frames {
		if f.Mask != now(id) {
			cameras = append(cameras, id)
		}
	}
	return cameras
}

// maxBlank bounds a row of zeros: SQLite holds it in memory.
const maxBlank = 16 << 20

// wipe deletes a camera's frame, fills the pages that are free with zeros, and
// empties the log. The zeros are a commit of their own: pages that are filled
// and freed by one would not be written.
func (s *Store) wipe(ctx context.Context, camera fleet.CameraID, mask fleet.MaskSum) error {
	conn, err := s.thumb.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to its pool
	if _, err := conn.ExecContext(ctx, "DELETE FROM thumbnails WHERE camera = ? AND mask != ?", int64(camera), int64(mask)); err != nil {
		return err
	}
	var free, page int64
	if err := conn.QueryRowContext(ctx, "SELECT freelist_count, page_size FROM pragma_freelist_count, pragma_page_size").Scan(&free, &page); err != nil {
		return err
	}
	// A page of a blob has four bytes for the number of the next one. What of a
	// row is on the table's own page comes on top.
	for zeros := free * (page - 4); zeros > 0; zeros -= maxBlank {
		if _, err := conn.ExecContext(ctx, "INSERT INTO blank VALUES (zeroblob(?))", min(zeros, maxBlank)+page); err != nil {
			return err
		}
	}
	_, err = conn.ExecContext(ctx, "DELETE FROM blank; PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// Thumbnail returns the camera's latest frame; nil when there is none.
func (s *Store) Thumbnail(ctx context.Context, camera fleet.CameraID) (jpeg []byte, f FrameInfo, err error) {
	err = s.thumb.QueryRowContext(ctx, "SELECT at, mask, jpeg FROM thumbnails WHERE camera = ?", int64(camera)).Scan(&f.At, (*signed)(&f.Mask), &jpeg)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, FrameInfo{}, nil
	}
	return jpeg, f, err
}

// FrameAt says when the camera's latest thumbnail under the mask was taken; 0 =
// never.
func (s *Store) FrameAt(camera fleet.CameraID, mask fleet.MaskSum) fleet.Instant {
	if f := s.frame(camera); f.Mask == mask {
		return f.At
	}
	return 0
}

func (s *Store) frame(camera fleet.CameraID) FrameInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.frames[camera]
}

func (s *Store) loadFrames(ctx context.Context) error {
	return each(ctx, s.thumb, "SELECT camera, at, mask FROM thumbnails", func(r *sql.Rows) error {
		var camera fleet.CameraID
		var f FrameInfo
		err := r.Scan((*signed)(&camera), &f.At, (*signed)(&f.Mask))
		s.frames[camera] = f
		return err
	})
}
