package guard_test

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// TestAgain: a camera closes a connection that it had left open, at the moment
// the next request arrives. What may be sent twice is; a restart is not.
func TestAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var read atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			for i := range 2 {
				if _, err := http.ReadRequest(r); err != nil {
					break
				}
				read.Add(1)
				if i == 0 {
					_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
				}
			}
			c.Close() // the second request of a connection is read and not answered
		}
	}()
	for _, again := range []bool{true, false} {
		g := newGuard(t, guard.Options{})
		read.Store(0)
		r := guard.Request{Method: http.MethodPost, URL: "http://" + l.Addr().String(), Again: again}
		if _, err := g.Do(within(t, 5*time.Second), guard.Login{}, r); err != nil {
			t.Fatal(err)
		}
		r.Body = []byte("x")
		_, err := g.Do(within(t, 5*time.Second), guard.Login{}, r)
		if want := map[bool]int32{true: 3, false: 2}[again]; (err == nil) != again || read.Load() != want {
			t.Errorf("again %v: %d requests were read, want %d; %v", again, read.Load(), want, err)
		}
		g.Close()
	}
}
