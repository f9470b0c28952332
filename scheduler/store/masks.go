package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// maskSchema belongs to schema; an older build leaves the table alone.
const maskSchema = `CREATE TABLE IF NOT EXISTS masks (camera INTEGER PRIMARY KEY, body TEXT NOT NULL);`

// Mask is what must not be seen of a camera since At. A mask that was taken off
// stays, without shapes, so that revisions rise.
type Mask struct {
	Camera   fleet.CameraID `json:"-"`
	Revision uint64
	Shapes   *fleet.Mask `json:",omitempty"`
	By       string      // who said so
	At       fleet.Instant
	Before   []MaskChange `json:",omitempty"` // older ones, oldest first; not all, when the first is not revision 1
}

// MaskChange is what was hidden of a camera from At until the next change.
type MaskChange struct {
	Revision uint64
	Sum      fleet.MaskSum `json:",omitzero"` // 0 = nothing
	By       string
	At       fleet.Instant
}

func (t *txn) masks(all []Mask) {
	for _, m := range all {
		b, err := json.Marshal(m)
		if err != nil && t.err == nil {
			t.err = err
		}
		t.do("mask", int64(m.Camera), string(b))
	}
}

func loadMasks(ctx context.Context, db querier, into *[]Mask) error {
	return each(ctx, db, "SELECT camera, body FROM masks", func(r *sql.Rows) error {
		var m Mask
		var text string
		if err := r.Scan((*signed)(&m.Camera), &text); err != nil {
			return err
		}
		// A mask that is not understood must not be taken for none.
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return fmt.Errorf("mask of camera %s: %w", m.Camera, err)
		}
		if err := m.Shapes.Check(); err != nil {
			return fmt.Errorf("mask of camera %s: %w", m.Camera, err)
		}
		*into = append(*into, m)
		return nil
	})
}
