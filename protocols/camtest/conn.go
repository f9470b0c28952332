package camtest

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// slowRate is what a camera with the fault Slow sends: a still takes about
// ten seconds, longer than anyone should wait for it.
const slowRate = 5 << 10

// wrap gives the connections of l the manners that faults ask for.
func (c *camera) wrap(l net.Listener) net.Listener { return manneredListener{l, c} }

type manneredListener struct {
	net.Listener
	camera *camera
}

func (l manneredListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &manneredConn{Conn: conn, camera: l.camera, closed: make(chan struct{})}, nil
}

// manneredConn reads and writes as its camera's faults allow at each moment.
type manneredConn struct {
	net.Conn
	camera *camera
	once   sync.Once
	closed chan struct{}
}

// Read gives nothing while the camera is silent: what comes is swallowed.
func (c *manneredConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.camera.is(Silent) {
			return n, err
		}
	}
}

// Write says nothing while the camera is silent, and little at a time while
// it is slow.
func (c *manneredConn) Write(b []byte) (int, error) {
	const piece = slowRate / 4
	done := 0
	for done < len(b) {
		if silent, changed := c.camera.state(Silent); silent {
			select {
			case <-changed:
				continue
			case <-c.closed:
				return done, net.ErrClosed
			}
		}
		slow, changed := c.camera.state(Slow)
		if !slow {
			n, err := c.Conn.Write(b[done:])
			return done + n, err
		}
		n, err := c.Conn.Write(b[done:min(done+piece, len(b))])
		if done += n; err != nil {
			return done, err
		}
		pause := time.NewTimer(time.Second / 4)
		select {
		case <-pause.C:
		case <-changed:
		case <-c.closed:
			pause.Stop()
			return done, net.ErrClosed
		}
		pause.Stop()
	}
	return done, nil
}

func (c *manneredConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// noSuchAddress reports that this machine does not have the address at all.
func noSuchAddress(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }
