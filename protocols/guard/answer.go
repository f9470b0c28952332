package guard

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// send is one request and its answer. The body is read whole, but for a 2xx
// answer to a Stream request.
func (g *Guard) send(ctx context.Context, r Request, u *url.URL, auth string, s *session) (*Response, error) {
	ctx, w := watch(ctx)
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseProtocol, "%w", err)
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "shutterfleet")
	}
	req.Header.Del("Authorization") // logins come by Login alone
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	if r.Again {
		// The transport's sign for it; an empty value is not sent.
		req.Header["X-Idempotency-Key"] = []string{}
	}
	if len(r.Body) == 0 {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	// The transport alone: a client would follow redirects and keep cookies.
	res, err := g.http.RoundTrip(req)
	if err != nil {
		return nil, w.explain(err)
	}
	out := &Response{Status: res.StatusCode, Header: res.Header, Auth: s.kind(), URL: u.String(), Key: keyOf(res.TLS)}
	if res.TLS != nil {
		// A connection that was open already may be another device's.
		if err := g.checkPin(deviceIn(ctx), cmp.Or(u.Port(), "443"), res.TLS); err != nil {
			res.Body.Close()
			return nil, err
		}
	}
	if s != nil {
		out.Used = s.with
	}
	ok := res.StatusCode >= 200 && res.StatusCode < 300
	if ok && r.Stream {
		out.Stream = res.Body
		return out, nil
	}
	defer res.Body.Close()
	limit := r.MaxBytes
	if !ok {
		limit = min(limit, maxErrorBytes)
	}
	out.Body, err = readAll(res.Body, res.ContentLength, limit)
	if err != nil && ok {
		return out, err
	}
	// A refusal whose text breaks off or never ends is still a refusal.
	return out, nil
}

// readAll reads up to limit bytes. Memory follows what has come, never what
// was promised, and is at most twice the answer.
func readAll(body io.Reader, promised, limit int64) ([]byte, error) {
	if promised > limit {
		return nil, tooLarge(limit)
	}
	const first, most = 16 << 10, 1 << 20
	var full [][]byte
	chunk := make([]byte, 0, max(min(promised, most), first)+1)
	var total int64
	for {
		n, err := body.Read(chunk[len(chunk):cap(chunk)])
		chunk = chunk[:len(chunk)+n]
		if total += int64(n); total > limit {
			return nil, tooLarge(limit)
		}
		switch {
		case err == io.EOF && full == nil:
			return chunk, nil
		case err == io.EOF:
			return bytes.Join(append(full, chunk), nil), nil
		case err != nil:
			return bytes.Join(append(full, chunk), nil), err
		case len(chunk) == cap(chunk):
			full = append(full, chunk)
			chunk = make([]byte, 0, min(2*cap(chunk), most))
		}
	}
}

// stream bounds what is read of a streamed answer.
type stream struct {
	io.ReadCloser
	left, limit int64
	done        func()
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, tooLarge(s.limit)
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = CameraError(err, "")
	}
	return n, err
}

func (s *stream) Close() error {
	defer s.done()
	return s.ReadCloser.Close()
}

// progress tells a camera that is not there from one that is silent: the
// transport reports both as the context's end.
type progress struct{ connecting, connected atomic.Bool }

func watch(ctx context.Context) (context.Context, *progress) {
	w := &progress{}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(string, string) { w.connecting.Store(true) },
		ConnectDone:  func(_, _ string, err error) { w.connecting.Store(err != nil) },
		GotConn:      func(httptrace.GotConnInfo) { w.connected.Store(true) },
	}), w
}

func (w *progress) explain(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || w.connected.Load() {
		return err
	}
	if w.connecting.Load() {
		return fleet.Errorf(fleet.CauseUnreachable, "no answer to a connect: %w", err)
	}
	return err
}
