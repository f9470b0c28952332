package store

import (
	"container/heap"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Keys of the meta table.
const (
	keyStamp    = "stamp"    // nonce and fence, 8 bytes each
	keyList     = "list"     // JSON of cameraList
	keyIdentity = "identity" // JSON of Identity
	keyClock    = "clock"    // JSON of savedClock
	keyFrontier = "frontier" // Unix ms, 8 bytes
	keyStanding = "standing" // the version, 8 bytes

	keyStandingRaw = "standing-raw" // as the centre sent them, and a checksum
	keyMasks       = "masks"        // JSON: revisions that were asked for and have not come, by camera
)

// Identity is who this agent is. Key never leaves the box.
type Identity struct {
	Agent       fleet.AgentID
	Site        fleet.SiteID
	Key         []byte // PKCS#8, DER
	Certificate []byte // DER
	CA          []byte // DER
	OrderKey    []byte // Ed25519 public key that signs instructions
}

// cameraList is what is kept of a Cameras instruction beside the cameras.
type cameraList struct {
	Version uint64
	Site    []login
}

// target and login are the stored forms of fleet.Target and fleet.Credentials.
// They hold passwords in the clear, which fleet.Secret refuses to be written
// as; the file is for this user alone.
type target struct {
	Device, Source string
	Endpoints      []fleet.Endpoint
	Credentials    []login
	Same, Apart    []string         `json:",omitempty"`
	Mask           fleet.CameraMask `json:",omitzero"`
}

type login struct {
	User, Password string
	Version        uint64
}

// savedClock is an offset, and when it was saved: on the box's clock and since
// which boot. They tell after a restart what the box's clock did meanwhile.
type savedClock struct {
	Offset, Bound time.Duration
	Wall          time.Time     `json:",omitzero"`
	Boot          string        `json:",omitempty"`
	Up            time.Duration `json:",omitempty"`
}

// Identity returns who this agent is; ok is false before it has enrolled.
func (s *Store) Identity() (id Identity, ok bool, err error) {
	ok, err = s.getJSON(keyIdentity, &id)
	return id, ok, err
}

// SetIdentity keeps id, and returns once that is durable.
func (s *Store) SetIdentity(ctx context.Context, id Identity) error {
	return s.setJSON(ctx, keyIdentity, id)
}

// upError is how exact the time since boot is: /proc/uptime counts hundredths
// of a second, and is read twice.
const upError = 20 * time.Millisecond

// Clock returns the offset of the centre's clock to this box's that was saved
// last, with its bound. When the box's clock was set meanwhile, the time since
// boot shows by how much, and the offset follows. After another boot nobody
// knows whether it was: the bound then covers both.
func (s *Store) Clock() (offset, bound time.Duration, ok bool) {
	var c savedClock
	ok, err := s.getJSON(keyClock, &c)
	if !ok || err != nil {
		return 0, 0, false
	}
	if c.Boot == "" || s.opts.Boot == nil {
		return c.Offset, c.Bound, true
	}
	boot, up, known := s.opts.Boot()
	if !known || boot != c.Boot {
		return c.Offset, c.Bound + c.Offset.Abs(), true
	}
	stepped := s.opts.Now().Round(0).Sub(c.Wall) - (up - c.Up)
	return c.Offset - stepped, c.Bound + upError + (up-c.Up)/1_000_000*50, true // 50 ppm of drift, as the uplink's clock takes
}

// SetClock keeps a measured offset for the time after a restart without the
// centre. It is written along with the next commit.
func (s *Store) SetClock(offset, bound time.Duration) error {
	c := savedClock{Offset: offset, Bound: bound}
	if s.opts.Boot != nil {
		if boot, up, known := s.opts.Boot(); known {
			c.Wall, c.Boot, c.Up = s.opts.Now().Round(0), boot, up
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("save clock: %w", err)
	}
	s.mu.Lock()
	s.dirty.value(keyClock, b)
	s.mu.Unlock()
	return nil
}

// SetCameras changes the list of cameras, with the nonce and fence of the
// instruction that brought it, and returns once that is durable. With full the
// given cameras replace all others.
func (s *Store) SetCameras(ctx context.Context, c Cameras, nonce, fence uint64) error {
	s.mu.Lock()
	if err := s.stamp(nonce, fence); err != nil {
		s.mu.Unlock()
		return err
	}
	s.accept(nonce, fence)
	if c.Full {
		for id := range s.cameras {
			s.dirty.camera(id)
		}
		clear(s.cameras)
		s.dirty.full = true
	}
	for _, t := range c.Put {
		s.cameras[t.Camera] = t
		s.dirty.camera(t.Camera)
	}
	for _, id := range c.Remove {
		delete(s.cameras, id)
		s.dirty.camera(id)
	}
	if err := s.met(c); err != nil {
		s.mu.Unlock()
		return err
	}
	s.version, s.site, s.dirty.list = c.Version, slices.Clone(c.Site), true
	s.mu.Unlock()
	signal(s.camsChanged)
	return s.sync(ctx, len(c.Put)+1, false)
}

// Cameras is one change of the camera list.
type Cameras struct {
	Version uint64
	Full    bool
	Put     []fleet.Target
	Remove  []fleet.CameraID
	Site    []fleet.Credentials // to try on devices that are not enrolled yet
}

// Camera returns how to reach one camera.
func (s *Store) Camera(id fleet.CameraID) (fleet.Target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.cameras[id]
	return t, ok
}

// Cameras returns the whole list, by camera, with its version and the site's
// credentials.
func (s *Store) Cameras() Cameras {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Cameras{Version: s.version, Full: true, Site: slices.Clone(s.site)}
	for _, id := range slices.Sorted(maps.Keys(s.cameras)) {
		c.Put = append(c.Put, s.cameras[id])
	}
	return c
}

func (s *Store) setJSON(ctx context.Context, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save %s: %w", key, err)
	}
	s.mu.Lock()
	s.dirty.value(key, b)
	s.mu.Unlock()
	if err := s.sync(ctx, s.opts.Batch, true); err != nil {
		return fmt.Errorf("save %s: %w", key, err)
	}
	return nil
}

func (s *Store) getJSON(key string, v any) (bool, error) {
	s.io.Lock()
	defer s.io.Unlock()
	b, err := s.meta(key)
	if err != nil || b == nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	return true, nil
}

// meta reads one value; nil when there is none. Callers hold io.
func (s *Store) meta(key string) ([]byte, error) {
	var b []byte
	err := s.db.QueryRow("SELECT v FROM meta WHERE k=?", key).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return b, nil
}

// load fills memory from the file.
func (s *Store) load() error {
	if err := s.upgrade(); err != nil {
		return err
	}
	b, err := s.meta(keyStamp)
	if err != nil {
		return err
	}
	if len(b) == 16 {
		s.nonce, s.fence = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	}
	var list cameraList
	if _, err := s.getJSON(keyList, &list); err != nil {
		return err
	}
	s.version, s.site = list.Version, credentials(list.Site)
	if _, err := s.getJSON(keyMasks, &s.needed); err != nil {
		return err
	}
	err = s.scan("SELECT id, target FROM cameras", func(r *sql.Rows) error {
		var id int64
		var b []byte
		if err := r.Scan(&id, &b); err != nil {
			return err
		}
		var t target
		if err := json.Unmarshal(b, &t); err != nil {
			return fmt.Errorf("camera %s: %w", fleet.CameraID(id), err)
		}
		c := fleet.CameraID(id)
		s.cameras[c] = fleet.Target{Camera: c, Device: t.Device, Source: t.Source, Endpoints: t.Endpoints, Credentials: credentials(t.Credentials), Same: t.Same, Apart: t.Apart, Mask: t.Mask}
		return nil
	})
	if err != nil {
		return err
	}
	err = s.scan("SELECT nominal, camera, schedule, deadline, retries, fence, not_before, priority, own FROM orders ORDER BY nominal", func(r *sql.Rows) error {
		var nominal, camera, schedule, deadline, retries, fence, notBefore, priority int64
		var own bool
		if err := r.Scan(&nominal, &camera, &schedule, &deadline, &retries, &fence, &notBefore, &priority, &own); err != nil {
			return err
		}
		h := &held{durable: true, own: own, Order: fleet.Order{
			Occurrence: fleet.Occurrence{Camera: fleet.CameraID(camera), Schedule: fleet.ScheduleID(schedule), Nominal: fleet.Instant(nominal)},
			NotBefore:  fleet.Instant(notBefore), Deadline: fleet.Instant(deadline), Retries: uint8(retries), Priority: fleet.Priority(priority), Fence: uint64(fence)}}
		s.held[h.Occurrence] = h
		heap.Push(&s.waiting, h)
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.db.QueryRow("SELECT COUNT(*), COALESCE(MAX(id), 0) FROM outbox").Scan(&s.onDisk, &s.nextID); err != nil {
		return err
	}
	if err := s.loadStanding(); err != nil {
		return err
	}
	if err := s.loadRemembered(); err != nil {
		return err
	}
	// A file of an older build has no recent, and one that was cut off may lack
	// its end.
	return s.scan(fmt.Sprintf("SELECT record FROM outbox ORDER BY id DESC LIMIT %d", RecentSize), func(r *sql.Rows) error {
		var b sql.RawBytes
		if err := r.Scan(&b); err != nil {
			return err
		}
		if c, ok := s.parse(b); ok {
			s.recent.add(c.Occurrence)
		}
		return nil
	})
}

// upgrade takes the file to the newest schema, each step whole or not at all.
func (s *Store) upgrade() error {
	var have int
	if err := s.db.QueryRow("PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have > len(schemas) {
		return fmt.Errorf("the file has form %d and this build knows %d: run the newer agent, or move the file away and start again with a site key", have, len(schemas))
	}
	for n := have; n < len(schemas); n++ {
		tx, err := s.db.Begin()
		if err != nil {
			return err
		}
		_, err = tx.Exec(schemas[n] + fmt.Sprintf("PRAGMA user_version=%d;", n+1))
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) scan(query string, row func(*sql.Rows) error) (err error) {
	rows, err := s.db.Query(query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// writeCameras is commit's part for the camera list.
func writeCameras(tx *sql.Tx, n *snapshot) error {
	if n.full {
		if _, err := tx.Exec("DELETE FROM cameras"); err != nil {
			return err
		}
	}
	for id := range n.dirty.cameras {
		t, ok := n.targets[id]
		if !ok {
			if _, err := tx.Exec("DELETE FROM cameras WHERE id=?", int64(id)); err != nil {
				return err
			}
			continue
		}
		b, err := json.Marshal(target{Device: t.Device, Source: t.Source, Endpoints: t.Endpoints, Credentials: logins(t.Credentials), Same: t.Same, Apart: t.Apart, Mask: t.Mask})
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT OR REPLACE INTO cameras (id, target) VALUES (?,?)", int64(id), b); err != nil {
			return err
		}
	}
	if !n.list {
		return nil
	}
	b, err := json.Marshal(cameraList{Version: n.version, Site: logins(n.site)})
	if err != nil {
		return err
	}
	return putMeta(tx, keyList, b)
}

func logins(cs []fleet.Credentials) []login {
	out := make([]login, len(cs))
	for i, c := range cs {
		out[i] = login{User: c.User, Password: c.Password.Reveal(), Version: c.Version}
	}
	return out
}

func credentials(ls []login) []fleet.Credentials {
	out := make([]fleet.Credentials, len(ls))
	for i, l := range ls {
		out[i] = fleet.Credentials{User: l.User, Password: fleet.Secret(l.Password), Version: l.Version}
	}
	return out
}
