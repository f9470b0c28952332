package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestOnceIsAMap holds the memory of answers to a model: a map with the times
// of its entries.
func TestOnceIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type kept struct {
			body  byte
			value int
			since time.Time
		}
		now := time.Unix(0, 0)
		o := newOnce(func() time.Time { return now })
		model := map[string]kept{}
		runs := 0
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "hours")) * time.Hour) },
			"ask": func(t *rapid.T) {
				key, body, fails := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 1, 1).Draw(t, "key"), byte(rapid.IntRange(0, 1).Draw(t, "body")), rapid.Bool().Draw(t, "fails")
				was, known := model[key]
				known = known && now.Sub(was.since) < onceFor
				before := runs
				v, replayed, err := o.do(context.Background(), onceKey{key: key}, [32]byte{body}, func(context.Context) (any, error) {
					runs++
					if fails {
						return nil, errors.New("no")
					}
					return runs, nil
				})
				switch {
				case known && was.body != body:
					if status, _ := problem(err); status != 422 || runs != before {
						t.Fatalf("another body: %v, %v", v, err)
					}
				case known:
					if v != was.value || !replayed || err != nil || runs != before {
						t.Fatalf("again: %v %v %v, want %v", v, replayed, err, was.value)
					}
				case runs != before+1 || replayed || fails != (err != nil):
					t.Fatalf("new: %v %v %v after %d runs", v, replayed, err, runs-before)
				case !fails:
					model[key] = kept{body, runs, now}
				}
			},
		})
	})
}

// TestOnceWhoKnows: a command whose line was cut may have been done, and the same
// key does not do it again. One that nobody took may be tried again.
func TestOnceWhoKnows(t *testing.T) {
	for _, c := range []struct {
		err  error
		runs int
	}{{scheduler.ErrLineLost, 1}, {scheduler.ErrNoAnswer, 1}, {scheduler.ErrNoAgent, 2}, {&scheduler.CommandError{Detail: "no"}, 2}} {
		o, runs := newOnce(time.Now), 0
		for range 2 {
			_, _, err := o.do(t.Context(), onceKey{key: "reboot"}, [32]byte{}, func(context.Context) (any, error) {
				runs++
				return nil, fmt.Errorf("agent agt-1: %w", c.err)
			})
			if !errors.Is(err, c.err) {
				t.Errorf("%v came as %v", c.err, err)
			}
		}
		if runs != c.runs {
			t.Errorf("after %v it ran %d times, want %d", c.err, runs, c.runs)
		}
	}
}

func TestOnceIsBounded(t *testing.T) {
	o := newOnce(time.Now)
	ask := func(key string) (any, bool) {
		v, replayed, err := o.do(t.Context(), onceKey{key: key}, [32]byte{}, func(context.Context) (any, error) { return key, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v, replayed
	}
	for i := range maxOnce + 100 {
		ask(strconv.Itoa(i))
	}
	if len(o.byKey) > maxOnce || o.age.Len() != len(o.byKey) {
		t.Errorf("%d answers by key, %d by age", len(o.byKey), o.age.Len())
	}
	if _, replayed := ask(strconv.Itoa(maxOnce + 99)); !replayed {
		t.Error("the newest answer is forgotten")
	}
	if _, replayed := ask("0"); replayed {
		t.Error("the oldest answer is kept")
	}
}

// TestOnceOutlivesItsAsker gives up on a request that runs: it goes on, and who
// comes back hears of it.
func TestOnceOutlivesItsAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOnce(time.Now)
		runs := 0
		run := func(ctx context.Context) (any, error) {
			runs++
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(10 * time.Second):
				return "stored", nil
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { _, _, _ = o.do(ctx, onceKey{key: "k"}, [32]byte{}, run) }()
		synctest.Wait()
		for i := range 3 {
			v, replayed, err := o.do(t.Context(), onceKey{key: "k"}, [32]byte{}, run)
			if v != "stored" || !replayed || err != nil || runs != 1 {
				t.Errorf("asker %d: %v %v %v after %d runs", i, v, replayed, err, runs)
			}
		}
		// One that only waits may leave.
		go func() { _, _, _ = o.do(t.Context(), onceKey{key: "l"}, [32]byte{}, run) }()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := o.do(ctx, onceKey{key: "l"}, [32]byte{}, run); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an impatient asker: %v", err)
		}
		if v, _, err := o.do(t.Context(), onceKey{key: "l"}, [32]byte{}, run); v != "stored" || err != nil || runs != 2 {
			t.Errorf("a patient one: %v %v after %d runs", v, err, runs)
		}
	})
}

func TestOncePanics(t *testing.T) {
	o := newOnce(time.Now)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is swallowed")
			}
		}()
		_, _, _ = o.do(t.Context(), onceKey{}, [32]byte{}, func(context.Context) (any, error) { panic("oh") })
	}()
	v, replayed, err := o.do(t.Context(), onceKey{}, [32]byte{}, func(context.Context) (any, error) { return 1, nil })
	if v != 1 || replayed || err != nil {
		t.Errorf("after a panic: %v %v %v", v, replayed, err)
	}
}
