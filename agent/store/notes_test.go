package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/shutterfleet/shutterfleet/agent/store"
)

// TestNotes keeps notes over restarts, the last of each, and no more than there
// is room for.
func TestNotes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	open := func() *store.Store {
		t.Helper()
		s, err := store.Open(path, store.Options{Codec: codec, Linger: -1})
		must(t, err)
		return s
	}
	want := func(s *store.Store, topic store.Topic, key, body string) {
		t.Helper()
		got, err := s.Note(topic, key)
		if err != nil || string(got) != body {
			t.Errorf("%s of %s: %q, %v; want %q", topic, key, got, err, body)
		}
	}
	s := open()
	want(s, store.Lessons, "a", "")
	s.SetNote(store.Lessons, "a", []byte("1"))
	s.SetNote(store.Pins, "a", []byte("key"))
	want(s, store.Lessons, "a", "1") // before a commit
	must(t, s.Flush(t.Context()))
	s.SetNote(store.Lessons, "a", []byte("2"))
	want(s, store.Lessons, "a", "2")
	must(t, s.Close())
	s = open()
	want(s, store.Lessons, "a", "2")
	want(s, store.Pins, "a", "key")
	s.SetNote(store.Pins, "a", nil)
	want(s, store.Pins, "a", "")
	must(t, s.Close())
	s = open()
	want(s, store.Pins, "a", "")
	for i := range 16384 + 10 {
		s.SetNote(store.Looks, fmt.Sprint(i), []byte("x"))
		if i == 9 || i == 16383+10 { // the first ten are the oldest
			must(t, s.Close())
			s = open()
		}
	}
	want(s, store.Lessons, "a", "2") // of another topic
	want(s, store.Looks, "16393", "x")
	for i := range 10 {
		want(s, store.Looks, fmt.Sprint(i), "")
	}
	must(t, s.Close())
}
