package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Position is where a round is.
type Position struct {
	Subnets string    `json:"subnets"` // what is searched, in one spelling
	Seed    uint64    `json:"seed"`    // of the order
	Next    uint64    `json:"next"`    // the first address of the order that may not have been asked
	Started time.Time `json:"started"` // the round
}

// Memory keeps a position through a restart. A lost one costs a round.
type Memory interface {
	// Load returns the kept position, or the zero one if there is none.
	Load() (Position, error)
	Save(Position) error
}

// File is a Memory in one small file, named by its path.
type File string

// maxPositionBytes bounds the file: at most a few thousand subnets.
const maxPositionBytes = 1 << 20

// Load reads the file. A missing one is no error.
func (f File) Load() (Position, error) {
	in, err := os.Open(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return Position{}, nil
	}
	if err != nil {
		return Position{}, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxPositionBytes))
	if err != nil {
		return Position{}, err
	}
	var p Position
	if err := json.Unmarshal(b, &p); err != nil {
		return Position{}, fmt.Errorf("read %s: %w", string(f), err)
	}
	return p, nil
}

// Save replaces the file. It is not synced: a power cut costs a round at most.
func (f File) Save(p Position) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	next := string(f) + ".new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return err
	}
	return os.Rename(next, string(f))
}
