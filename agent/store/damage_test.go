package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestDamagedFiles flips or cuts a byte of the file or its log, 200 times. The
// store opens or says why not, gives out only outcomes it was given, and never
// panics.
func TestDamagedFiles(t *testing.T) {
	trials := 200
	if testing.Short() {
		trials = 30
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.db")
	s := open(t, path, store.Options{})
	ctx := t.Context()
	must(t, s.Begin(ctx, orders(0, 300), 1, 1))
	due, _ := s.Due(1<<60, 200)
	offline(t, s, due)
	must(t, s.Close()) // all of it in the file
	s = open(t, path, store.Options{})
	must(t, s.Begin(ctx, orders(300, 400), 2, 1)) // and some in the log
	files := make(map[string][]byte)              // as a power cut leaves them
	for _, ext := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + ext)
		must(t, err)
		files[ext] = b
	}
	want := make(map[fleet.Occurrence]bool)
	for _, o := range orders(0, 400) {
		want[o.Occurrence] = true
	}
	refused, lost := 0, 0
	for trial := range trials {
		hurt := ""
		if trial%2 == 0 {
			hurt = "-wal"
		}
		at := filepath.Join(dir, "damaged.db")
		for ext, b := range files {
			b = append([]byte(nil), b...)
			if ext == hurt && len(b) > 0 {
				n := rand.IntN(len(b))
				if trial%4 < 2 {
					b[n] ^= 1 << rand.IntN(8)
				} else {
					b = b[:n]
				}
			}
			must(t, os.WriteFile(at+ext, b, 0o600))
		}
		_ = os.Remove(at + "-shm")
		d, err := store.Open(at, store.Options{Codec: codec, Linger: -1})
		if err != nil {
			if !errors.Is(err, store.ErrDamaged) {
				t.Errorf("trial %d: %v", trial, err)
			}
			refused++
			continue
		}
		rows, err := d.Take(ctx, 1000)
		if err == nil {
			for _, r := range rows {
				if o := r.Capture.Occurrence; !want[o] || fmt.Sprint(r.Capture) != fmt.Sprint(captured(fleet.Order{Occurrence: o})) {
					t.Errorf("trial %d: an outcome nobody put in: %+v", trial, r.Capture)
				}
			}
			held, _, _ := d.Counts()
			lost += 400 - held - len(rows)
		}
		_ = d.Close() // a damaged file may refuse the last commit
	}
	t.Logf("%d trials: %d stores were refused, %d of %d records lost in the others", trials, refused, lost, trials*400)
}

// TestDamagedSchema has a letter of the schema's text changed: every page is
// sound, and no statement fits.
func TestDamagedSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s, err := store.Open(path, store.Options{Codec: codec, Linger: -1})
	must(t, err)
	must(t, s.Close())
	b, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Contains(b, []byte("meta (k TEXT")) {
		t.Fatal("the schema is not where it was")
	}
	must(t, os.WriteFile(path, bytes.Replace(b, []byte("meta (k TEXT"), []byte("meta (j TEXT"), 1), 0o600))
	if s, err := store.Open(path, store.Options{Codec: codec, Linger: -1}); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("%v, %v", s, err)
	}
}
