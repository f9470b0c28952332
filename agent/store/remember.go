package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// ErrTaken says that a command with this id was taken before.
var ErrTaken = errors.New("the command was taken before")

const (
	// maxCommands bounds the ids that are remembered. Beyond it commands are
	// refused: an id that was forgotten early could run twice.
	maxCommands = 4096

	// commandKept is how long past its deadline, in milliseconds, an id is kept:
	// more than any clock that measured its offset is wrong.
	commandKept = 3_600_000

	// maxLogins bounds the devices whose login is remembered. It is far above what
	// one agent serves; beyond it the one that worked longest ago is forgotten,
	// which costs it a question to the centre.
	maxLogins = 16384
)

// Login is what is remembered of a device that has let us in.
type Login struct {
	Version uint64          `json:"version"` // of the credentials that worked last
	At      fleet.Instant   `json:"at"`      // when they were first seen to work
	Refused []fleet.Instant `json:"refused,omitempty"`
}

// TakeCommand remembers the id of a command that is good until its deadline,
// with the nonce and fence of the instruction that brought it, and returns once
// that is durable. ErrTaken says that it was there before: the nonce is taken
// all the same. Ids are forgotten an hour after their deadline.
func (s *Store) TakeCommand(ctx context.Context, id string, deadline, now fleet.Instant, nonce, fence uint64) error {
	s.mu.Lock()
	if err := s.stamp(nonce, fence); err != nil {
		s.mu.Unlock()
		return err
	}
	for old, until := range s.commands {
		if until < now {
			delete(s.commands, old)
			s.dirty.command(old)
		}
	}
	_, taken := s.commands[id]
	if !taken && len(s.commands) >= maxCommands {
		s.mu.Unlock()
		return fmt.Errorf("take command %s: %d were taken within the last hours: wait", id, maxCommands)
	}
	s.accept(nonce, fence)
	if !taken {
		s.commands[id] = deadline + commandKept
		s.dirty.command(id)
	}
	s.mu.Unlock()
	if err := s.sync(ctx, s.opts.Batch, true); err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("command %s: %w", id, ErrTaken)
	}
	return nil
}

// Login returns what is remembered of the device's login.
func (s *Store) Login(device string) (Login, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[device]
	return l, ok
}

// SetLogin remembers a login, in memory at once and durable with the next
// commit, which LoginsChanged asks for.
func (s *Store) SetLogin(device string, l Login) {
	s.mu.Lock()
	if _, ok := s.logins[device]; !ok && len(s.logins) >= maxLogins {
		oldest, at := "", fleet.Instant(0)
		for d, v := range s.logins {
			if oldest == "" || v.At < at {
				oldest, at = d, v.At
			}
		}
		delete(s.logins, oldest)
		s.dirty.login(oldest)
	}
	s.logins[device] = l
	s.dirty.login(device)
	s.mu.Unlock()
	signal(s.loginsChanged)
}

// LoginsChanged signals logins that are not durable yet. Signals coalesce.
func (s *Store) LoginsChanged() <-chan struct{} { return s.loginsChanged }

func (d *dirty) command(id string) {
	if d.commands == nil {
		d.commands = make(map[string]bool)
	}
	d.commands[id] = true
}

func (d *dirty) login(device string) {
	if d.logins == nil {
		d.logins = make(map[string]bool)
	}
	d.logins[device] = true
}

// remembered copies into a snapshot what it is to write. Callers hold mu.
func (s *Store) remembered(n *snapshot) {
	if len(n.dirty.commands) > 0 {
		n.taken = make(map[string]fleet.Instant, len(n.dirty.commands))
		for id := range n.dirty.commands {
			if until, ok := s.commands[id]; ok {
				n.taken[id] = until
			}
		}
	}
	if len(n.dirty.logins) > 0 {
		n.worked = make(map[string]Login, len(n.dirty.logins))
		for device := range n.dirty.logins {
			if l, ok := s.logins[device]; ok {
				n.worked[device] = l
			}
		}
	}
}

// writeRemembered is commit's part for commands and logins.
func writeRemembered(tx *sql.Tx, n *snapshot) error {
	for id := range n.dirty.commands {
		var err error
		if until, ok := n.taken[id]; ok {
			_, err = tx.Exec("INSERT OR REPLACE INTO commands (id, until) VALUES (?,?)", id, int64(until))
		} else {
			_, err = tx.Exec("DELETE FROM commands WHERE id=?", id)
		}
		if err != nil {
			return err
		}
	}
	for device := range n.dirty.logins {
		l, ok := n.worked[device]
		b, err := json.Marshal(l)
		switch {
		case err != nil:
		case ok:
			_, err = tx.Exec("INSERT OR REPLACE INTO logins (device, body) VALUES (?,?)", device, b)
		default:
			_, err = tx.Exec("DELETE FROM logins WHERE device=?", device)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// loadRemembered fills memory with commands and logins.
func (s *Store) loadRemembered() error {
	err := s.scan("SELECT id, until FROM commands", func(r *sql.Rows) error {
		var id string
		var until int64
		err := r.Scan(&id, &until)
		s.commands[id] = fleet.Instant(until)
		return err
	})
	return cmp.Or(err, s.scan("SELECT device, body FROM logins", func(r *sql.Rows) error {
		var device string
		var b []byte
		if err := r.Scan(&device, &b); err != nil {
			return err
		}
		var l Login
		if err := json.Unmarshal(b, &l); err != nil {
			return fmt.Errorf("login of %s: %w", device, err)
		}
		s.logins[device] = l
		return nil
	}))
}
