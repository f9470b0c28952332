package rtsp

import (
	"net"
	"sync"
	"time"
)

// conn is a connection whose deadlines never lie beyond a limit.
type conn struct {
	net.Conn
	release func() bool

	mu  sync.Mutex
	end time.Time
}

func (c *conn) limit(end time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	_ = c.Conn.SetDeadline(end)
}

func (c *conn) bound(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() || !c.end.IsZero() && t.After(c.end) {
		return c.end
	}
	return t
}

func (c *conn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(c.bound(t)) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(c.bound(t)) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.bound(t)) }

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}
