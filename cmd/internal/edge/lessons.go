package edge

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// lessons keeps what the agent learns about its cameras in its store, so that
// after a restart each is reached the way that worked.
type lessons struct{ store *store.Store }

func (l lessons) Load(_ context.Context, device, source string) (protocols.Lesson, bool, error) {
	b, err := l.store.Note(store.Lessons, device+"\n"+source)
	if b == nil || err != nil {
		return protocols.Lesson{}, false, err //nolint:wrapcheck // it names the note
	}
	var out protocols.Lesson
	if err := json.Unmarshal(b, &out); err != nil {
		return protocols.Lesson{}, false, fmt.Errorf("lesson of %s: %w", device, err)
	}
	return out, true, nil
}

func (l lessons) Save(_ context.Context, v protocols.Lesson) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("lesson of %s: %w", v.Device, err)
	}
	l.store.SetNote(store.Lessons, v.Device+"\n"+v.Source, b)
	return nil
}
