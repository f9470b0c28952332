package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Topic is what a note is about.
type Topic string

// The topics of notes.
const (
	Lessons Topic = "lesson" // which way works for a camera
	Pins    Topic = "pin"    // the TLS key of a device
	Looks   Topic = "look"   // how a camera's pictures usually are
	MACs    Topic = "mac"    // the hardware of a device, and where it was
)

// maxNotes bounds the notes of one topic: an agent serves far fewer cameras.
// Beyond it those that were written longest ago go.
const maxNotes = 16384

type noteKey struct {
	topic Topic
	key   string
}

// Note returns what was last noted under a key; nil when nothing is. The caller
// must not change it.
func (s *Store) Note(topic Topic, key string) ([]byte, error) {
	k := noteKey{topic, key}
	s.mu.Lock()
	for _, pending := range []map[noteKey][]byte{s.dirty.notes, s.noting} {
		if body, ok := pending[k]; ok {
			s.mu.Unlock()
			return body, nil
		}
	}
	s.mu.Unlock()
	var body []byte
	err := s.db.QueryRow("SELECT body FROM notes WHERE topic=? AND key=?", string(topic), key).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("note %s of %s: %w", topic, key, err)
	}
	return body, nil
}

// SetNote notes body under a key, in place of what was there; nil takes it away. It is there at
// once, and durable with the next commit: a note that a power cut takes is made
// again.
func (s *Store) SetNote(topic Topic, key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty.note(noteKey{topic, key}, body)
}

func (d *dirty) note(k noteKey, body []byte) {
	if d.notes == nil {
		d.notes = make(map[noteKey][]byte)
	}
	d.notes[k] = body
}

// writeNotes is commit's part for notes.
func writeNotes(tx *sql.Tx, n *snapshot) error {
	at := time.Now().UnixMilli()
	topics := map[Topic]bool{}
	for k, body := range n.notes {
		if body == nil {
			if _, err := tx.Exec("DELETE FROM notes WHERE topic=? AND key=?", string(k.topic), k.key); err != nil {
				return err
			}
			continue
		}
		topics[k.topic] = true
		if _, err := tx.Exec("INSERT OR REPLACE INTO notes (topic, key, at, body) VALUES (?,?,?,?)", string(k.topic), k.key, at, body); err != nil {
			return err
		}
	}
	for topic := range topics {
		_, err := tx.Exec("DELETE FROM notes WHERE topic=? AND at < (SELECT at FROM notes WHERE topic=? ORDER BY at DESC LIMIT 1 OFFSET ?)", string(topic), string(topic), maxNotes-1)
		if err != nil {
			return err
		}
	}
	return nil
}
