package guard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

func newGuard(t *testing.T, o guard.Options) *guard.Guard {
	t.Helper()
	g := guard.New(o)
	t.Cleanup(g.Close)
	return g
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func causeOf(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

func wantCause(t *testing.T, err error, want fleet.Cause) {
	t.Helper()
	if causeOf(err) != want {
		t.Fatalf("error %v has cause %q, want %q", err, causeOf(err), want)
	}
}

func TestStream(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			http.NotFound(w, r)
			return
		}
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	}))
	g := newGuard(t, guard.Options{})
	res, err := g.Do(t.Context(), guard.Login{}, guard.Request{URL: s.URL, Stream: true, MaxBytes: 5000})
	if err != nil || res.Stream == nil {
		t.Fatalf("Do = %v, %v", res, err)
	}
	n, err := io.Copy(io.Discard, res.Stream)
	res.Stream.Close()
	if n != 5000 || causeOf(err) != fleet.CauseTooLarge {
		t.Errorf("%d bytes and %v, want 5000 and too-large", n, err)
	}
	res, err = g.Do(t.Context(), guard.Login{}, guard.Request{URL: s.URL + "/none", Stream: true})
	if err != nil || res.Stream != nil || res.Status != 404 || !bytes.Contains(res.Body, []byte("not found")) {
		t.Errorf("a 404 to a stream request = %+v, %v", res, err)
	}
}

func TestOneConnectionPerCamera(t *testing.T) {
	var open, most atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		switch st {
		case http.StateNew:
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	s.Start()
	defer s.Close()
	g := newGuard(t, guard.Options{})
	errs := make(chan error, 20)
	for range 20 {
		go func() {
			_, err := g.Do(within(t, 10*time.Second), guard.Login{}, guard.Request{URL: s.URL})
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d connections at once, want 1", most.Load())
	}
}

func TestCameraError(t *testing.T) {
	if guard.CameraError(nil, "x") != nil {
		t.Error("nil did not stay nil")
	}
	in := fleet.Errorf(fleet.CauseNoKeyframe, "none")
	err := guard.CameraError(fmt.Errorf("deeper: %w", in), "grab 100%")
	wantCause(t, err, fleet.CauseNoKeyframe)
	if err.Error() != "grab 100%: deeper: none" {
		t.Errorf("text %q", err)
	}
	for _, tc := range []struct {
		err  error
		want fleet.Cause
	}{
		{context.DeadlineExceeded, fleet.CauseTimeout}, {context.Canceled, fleet.CauseDeadline},
		{io.EOF, fleet.CauseRefused}, {io.ErrUnexpectedEOF, fleet.CauseProtocol}, {errors.New("odd"), fleet.CauseProtocol},
		{&net.DNSError{Err: "no such host", Name: "cam", IsNotFound: true}, fleet.CauseUnreachable},
	} {
		got := guard.CameraError(tc.err, "")
		wantCause(t, got, tc.want)
		if !errors.Is(got, tc.err) {
			t.Errorf("%v lost %v", got, tc.err)
		}
	}
}

func ExampleGuard_Do() {
	camera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no picture here", http.StatusNotFound)
	}))
	defer camera.Close()
	g := guard.New(guard.Options{})
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	res, err := g.Do(ctx, guard.Login{Device: "urn:uuid:1"}, guard.Request{URL: camera.URL})
	fmt.Println(res.Status, err)
	// Output: 404 <nil>
}
