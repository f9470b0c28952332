package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestRemembered: ids of commands and logins that worked outlive a restart; an
// id is forgotten an hour after its deadline, and not before.
func TestRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	open := func() *store.Store {
		s, err := store.Open(path, store.Options{Codec: codec, Linger: -1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const now = fleet.Instant(1_800_000_000_000)
	s := open()
	if err := s.TakeCommand(t.Context(), "a", now+1000, now, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.TakeCommand(t.Context(), "b", now+1000, now, 1, 1); !errors.Is(err, store.ErrStale) {
		t.Errorf("with an old nonce: %v", err)
	}
	s.SetLogin("d", store.Login{Version: 7, At: now, Refused: []fleet.Instant{now}})
	s.SetLogin("e", store.Login{Version: 8, At: now})
	select {
	case <-s.LoginsChanged():
	default:
		t.Error("nobody is told to write the logins")
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open()
	defer s.Close()
	if l, ok := s.Login("d"); !ok || l.Version != 7 || len(l.Refused) != 1 {
		t.Errorf("the login is %+v, %v", l, ok)
	}
	late := now.Add(time.Hour)
	if err := s.TakeCommand(t.Context(), "a", now+1000, late, 2, 1); !errors.Is(err, store.ErrTaken) {
		t.Errorf("a second time, within the hour: %v", err)
	}
	if n, _ := s.Last(); n != 2 {
		t.Errorf("the nonce of a command that came again is not taken: %d", n)
	}
	if err := s.TakeCommand(t.Context(), "a", late+9000, late+1001, 3, 1); err != nil {
		t.Errorf("an hour after its deadline: %v", err)
	}
}

// TestRememberedIsBounded: commands beyond the bound are refused, for none may be
// forgotten early; of logins the one that worked longest ago goes.
func TestRememberedIsBounded(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "agent.db"), store.Options{Codec: codec, Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 16384 {
		s.SetLogin(fmt.Sprint(i), store.Login{Version: 1, At: fleet.Instant(20_000 - i)})
	}
	s.SetLogin("new", store.Login{Version: 1, At: 1})
	if _, ok := s.Login("16383"); ok {
		t.Error("the login that worked longest ago is still there")
	}
	if _, ok := s.Login("16382"); !ok {
		t.Error("more than one login was forgotten")
	}
	nonce := uint64(0)
	for i := range 4097 {
		nonce++
		err = s.TakeCommand(t.Context(), fmt.Sprint(i), 2000, 1000, nonce, 1)
		if full := i == 4096; full != (err != nil) || errors.Is(err, store.ErrTaken) {
			t.Fatalf("command %d: %v", i, err)
		}
	}
	if err := s.TakeCommand(t.Context(), "later", 2000, 2000+3_600_001, nonce, 1); err != nil {
		t.Errorf("when all others are old: %v", err)
	}
}
