package admin

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/scheduler"
)

const (
	// onceFor and maxOnce bound how long, and of how many requests, the answers
	// are remembered for who asks again with the same Idempotency-Key. An answer
	// takes about 1 kB.
	onceFor = 24 * time.Hour
	maxOnce = 10_000

	// onceTime bounds a request that goes on although its asker went away.
	onceTime = time.Minute
)

// OnceHeader is what an operation takes that can be asked again safely. (It is
// exported for huma, which reads no other embedded fields.)
type OnceHeader struct {
	Key string `header:"Idempotency-Key" maxLength:"255" pattern:"^[!-~]+$" doc:"Any text of your own, new for each thing that is asked for. The same key with the same body within 24 hours gets the first answer again, and nothing is done twice; with another body it is refused. The newest 10000 answers are kept, in memory: a restart of the scheduler forgets them"`
}

// once remembers the answers of requests by their Idempotency-Key, oldest
// first. Failures that changed nothing are not kept: they may be tried again.
type once struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[onceKey]*list.Element
	age   *list.List // of *answer
}

// onceKey holds who asks: nobody reads another's answers by guessing keys.
type onceKey struct{ who, operation, key string }

type answer struct {
	key   onceKey
	body  [32]byte
	since time.Time
	done  chan struct{} // closed when value and err are there
	value any
	err   error
}

func newOnce(now func() time.Time) *once {
	return &once{now: now, byKey: map[onceKey]*list.Element{}, age: list.New()}
}

// do runs a request, or returns what came of it before. Who asks while it runs
// waits for it. With a key it runs to its end even if the asker goes away, for
// the asker comes back with the same key and wants to hear of it.
func (o *once) do(ctx context.Context, key onceKey, body [32]byte, run func(context.Context) (any, error)) (value any, replayed bool, err error) {
	o.mu.Lock()
	o.forget()
	if e, ok := o.byKey[key]; ok {
		o.mu.Unlock()
		a := e.Value.(*answer)
		if a.body != body {
			return nil, false, huma.Error422UnprocessableEntity("Idempotency-Key: it was used for another request in the last 24 hours: take a new key for a new request")
		}
		select {
		case <-a.done:
			return a.value, true, a.err
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	a := &answer{key: key, body: body, since: o.now(), done: make(chan struct{}), err: context.Canceled}
	e := o.age.PushBack(a)
	o.byKey[key] = e
	o.mu.Unlock()

	defer func() { // also when run panics
		if a.err != nil && !unknown(a.err) {
			o.mu.Lock()
			o.drop(e)
			o.mu.Unlock()
		}
		close(a.done)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), onceTime)
	defer cancel()
	a.value, a.err = run(ctx)
	return a.value, false, a.err
}

// unknown reports whether what failed may have been done all the same: an agent
// that had the command, and could not tell. Once more could do it twice.
func unknown(err error) bool {
	return errors.Is(err, scheduler.ErrLineLost) || errors.Is(err, scheduler.ErrNoAnswer)
}

// forget drops what is too old, and the oldest of too many.
func (o *once) forget() {
	for e := o.age.Front(); e != nil; e = o.age.Front() {
		if len(o.byKey) < maxOnce && o.now().Sub(e.Value.(*answer).since) < onceFor {
			return
		}
		o.drop(e)
	}
}

func (o *once) drop(e *list.Element) {
	if k := e.Value.(*answer).key; o.byKey[k] == e {
		delete(o.byKey, k)
		o.age.Remove(e)
	}
}

// asOnce runs an operation under its Idempotency-Key, if it came with one.
// replayed is the value of the answer's header of that name.
func asOnce[T any](ctx context.Context, a *Server, operation string, in OnceHeader, body any, run func(context.Context) (T, error)) (value T, replayed string, err error) {
	if in.Key == "" {
		value, err = run(ctx)
		return value, "", err
	}
	text, err := json.Marshal(body) // of what was understood: spaces do not matter
	if err != nil {
		return value, "", fmt.Errorf("body of %s: %w", operation, err)
	}
	key := onceKey{visitorOf(ctx).Name, operation, in.Key}
	v, again, err := a.once.do(ctx, key, sha256.Sum256(text), func(ctx context.Context) (any, error) { return run(ctx) })
	if err != nil {
		return value, "", err
	}
	if again {
		replayed = "true"
	}
	return v.(T), replayed, nil
}
