package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// PutThumbnail keeps jpeg as the camera's latest frame, unless a later one is
// there.
func (s *Store) PutThumbnail(ctx context.Context, camera fleet.CameraID, at fleet.Instant, jpeg []byte) error {
	_, err := s.thumb.ExecContext(ctx, `INSERT INTO thumbnails (camera, at, jpeg) VALUES (?,?,?)
		ON CONFLICT (camera) DO UPDATE SET at = excluded.at, jpeg = excluded.jpeg WHERE excluded.at >= at`, int64(camera), at, jpeg)
	if err != nil {
		return fmt.Errorf("keep thumbnail of %s: %w", camera, err)
	}
	s.mu.Lock()
	s.frames[camera] = max(at, s.frames[camera])
	s.mu.Unlock()
	return nil
}

// Thumbnail returns the camera's latest frame; nil when there is none.
func (s *Store) Thumbnail(ctx context.Context, camera fleet.CameraID) (jpeg []byte, at fleet.Instant, err error) {
	err = s.thumb.QueryRowContext(ctx, "SELECT at, jpeg FROM thumbnails WHERE camera = ?", int64(camera)).Scan(&at, &jpeg)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	return jpeg, at, err
}

// FrameAt says when the camera's latest thumbnail was taken; 0 = never.
func (s *Store) FrameAt(camera fleet.CameraID) fleet.Instant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.frames[camera]
}

func (s *Store) loadFrames(ctx context.Context) error {
	return each(ctx, s.thumb, "SELECT camera, at FROM thumbnails", func(r *sql.Rows) error {
		var camera fleet.CameraID
		var at fleet.Instant
		err := r.Scan((*signed)(&camera), &at)
		s.frames[camera] = at
		return err
	})
}
