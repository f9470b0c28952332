package store

import (
	"context"
	"database/sql"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// loginSchema belongs to schema; an older build leaves the table alone.
const loginSchema = `CREATE TABLE IF NOT EXISTS logins (site TEXT, device TEXT, body BLOB NOT NULL, PRIMARY KEY (site, device)) WITHOUT ROWID;`

// Login is what is known of one device's refused logins. Body is the
// scheduler's; an empty one takes the row away.
type Login struct {
	Site   fleet.SiteID
	Device string
	Body   []byte
}

// PutLogins makes rows durable, all or none.
func (s *Store) PutLogins(ctx context.Context, rows []Login) error {
	return s.within(ctx, func(t *txn) {
		for _, r := range rows {
			if len(r.Body) == 0 {
				t.do("unlogin", string(r.Site), r.Device)
			} else {
				t.do("login", string(r.Site), r.Device, r.Body)
			}
		}
	})
}

// EachLogin calls f for each row.
func (s *Store) EachLogin(ctx context.Context, f func(Login) error) error {
	return each(ctx, s.read, "SELECT site, device, body FROM logins", func(r *sql.Rows) error {
		var l Login
		if err := r.Scan((*string)(&l.Site), &l.Device, &l.Body); err != nil {
			return err
		}
		return f(l)
	})
}
