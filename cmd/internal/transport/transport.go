// Package transport compares two ways of carrying reports from agents to the
// centre and their acknowledgements back, for `bench transport`:
//
//	ours   the agents' stream: gRPC over mutual TLS, Report and ReportStored
//	raw    the least that could work: frames with their length over the same mutual TLS
//
// Both carry the same packed batches under the same certificates, with as many
// in flight; neither packs, parses nor stores them. Both ends are in this
// process, so that a processor second pays for either end.
package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
)

// Line is one way. Its agents are connected; Run makes them send.
type Line interface {
	// Run sends batches on all connections for about d, and returns how many
	// were acknowledged.
	Run(ctx context.Context, d time.Duration) (uint64, error)
	Close() error
}

// Options are common to both.
type Options struct {
	PKI     *gateway.PKI
	Roster  swarm.Roster // a connection for each
	Payload []byte       // one packed batch
	Window  int          // batches in flight on a connection
}

// Batch packs n captures, as an agent would.
func Batch(n int) []byte {
	var b []byte
	now := time.Now()
	for i := range n {
		o := fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(uint64(i+1) * 0x9e3779b97f4a7c15), Schedule: fleet.ScheduleIDOf("bench"), Nominal: fleet.At(now)}, Deadline: fleet.At(now) + 60_000}
		b = wire.AppendCapture(b, swarm.Outcome(&o, now))
	}
	return b
}

// pump keeps a window of batches in flight until the time is up, and then takes
// in what is outstanding. send hands over one batch; flush is called before
// waiting; answer waits for one acknowledgement.
func pump(ctx context.Context, d time.Duration, window int, send func(n uint64) error, flush func() error, answer func() error) (uint64, error) {
	until := time.Now().Add(d)
	var sent, done uint64
	for {
		for more := ctx.Err() == nil && time.Now().Before(until); more && sent-done < uint64(window); {
			sent++
			if err := send(sent); err != nil {
				return done, err
			}
		}
		if sent == done {
			return done, nil
		}
		if err := flush(); err != nil {
			return done, err
		}
		if err := answer(); err != nil {
			return done, err
		}
		done++
	}
}

// all runs f for each of n connections at once, and adds up.
func all(n int, f func(i int) (uint64, error)) (uint64, error) {
	var wg sync.WaitGroup
	var total atomic.Uint64
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			done, err := f(i)
			total.Add(done)
			errs[i] = err
		})
	}
	wg.Wait()
	return total.Load(), errors.Join(errs...)
}

// ours is the agents' stream with a centre that stores nothing.
type ours struct {
	o       Options
	srv     *grpc.Server
	served  chan error
	conns   []*grpc.ClientConn
	streams []wire.Agents_LinkClient
	cancel  context.CancelFunc
}

// sink acknowledges each report when it has come.
type sink struct{ wire.UnimplementedAgentsServer }

func (sink) Link(stream wire.Agents_LinkServer) error {
	var in gateway.Inbound
	defer in.Release()
	for {
		m, err := in.Receive(stream)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if r := m.GetReport(); r != nil {
			if err := stream.Send(&wire.FromCentre{Body: &wire.FromCentre_ReportStored{ReportStored: &wire.ReportStored{Batch: r.GetBatch()}}}); err != nil {
				return err
			}
		}
	}
}

// Ours connects the roster's agents by gRPC, over the gateway's own server.
func Ours(ctx context.Context, o Options) (Line, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv, err := gateway.NewServer(o.PKI)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	wire.RegisterAgentsServer(srv, sink{})
	ctx, cancel := context.WithCancel(ctx)
	l := &ours{o: o, srv: srv, served: make(chan error, 1), cancel: cancel}
	go func() { l.served <- srv.Serve(ln) }()
	roots, err := o.Roster.Roots()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	for _, id := range o.Roster.Agents {
		config, err := id.TLS(roots)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		conn, err := swarm.Dial(ln.Addr().String(), config)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.conns = append(l.conns, conn)
		stream, err := wire.NewAgentsClient(conn).Link(ctx)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.streams = append(l.streams, stream)
	}
	return l, nil
}

// Run sends reports.
func (l *ours) Run(ctx context.Context, d time.Duration) (uint64, error) {
	return all(len(l.streams), func(i int) (uint64, error) {
		s := l.streams[i]
		return pump(ctx, d, l.o.Window, func(n uint64) error {
			return s.Send(&wire.FromAgent{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: n, Packed: l.o.Payload}}})
		}, func() error { return nil }, func() error {
			m, err := s.Recv()
			if err == nil && m.GetReportStored() == nil {
				err = fmt.Errorf("%T where an acknowledgement is wanted", m.GetBody())
			}
			return err
		})
	})
}

// Close ends the streams and the server.
func (l *ours) Close() error {
	l.cancel()
	var errs []error
	for _, c := range l.conns {
		errs = append(errs, c.Close())
	}
	l.srv.Stop()
	return errors.Join(append(errs, <-l.served)...)
}

// raw frames are a length and a number of four bytes each, and the batch;
// acknowledgements are the number.
type raw struct {
	o       Options
	ln      net.Listener
	serving sync.WaitGroup
	conns   []*tls.Conn
	in      []*bufio.Reader
	out     []*bufio.Writer
}

// rawBuffer is a few batches: both ends read and write many frames at a time
// where many wait.
const rawBuffer = 32 << 10

// Raw connects the roster's agents by frames over TLS.
func Raw(ctx context.Context, o Options) (Line, error) {
	config, err := o.PKI.TLS()
	if err != nil {
		return nil, err
	}
	config.NextProtos = nil
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return nil, err
	}
	l := &raw{o: o, ln: ln}
	l.serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed
			}
			l.serving.Go(func() {
				defer c.Close()
				_ = answerFrames(c) // the client sees the end
			})
		}
	})
	roots, err := o.Roster.Roots()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	for _, id := range o.Roster.Agents {
		config, err := id.TLS(roots)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		c, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.conns = append(l.conns, c.(*tls.Conn))
		l.in = append(l.in, bufio.NewReader(c))
		l.out = append(l.out, bufio.NewWriterSize(c, rawBuffer))
	}
	return l, nil
}

// answerFrames takes frames in and acknowledges them, all that have come at a
// time.
func answerFrames(c net.Conn) error {
	in, out := bufio.NewReaderSize(c, rawBuffer), bufio.NewWriter(c)
	var head [8]byte
	var body []byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > 4<<20 {
			return fmt.Errorf("a frame of %d bytes", n)
		}
		if uint32(cap(body)) < n {
			body = make([]byte, n)
		}
		if _, err := io.ReadFull(in, body[:n]); err != nil {
			return err
		}
		if _, err := out.Write(head[4:]); err != nil {
			return err
		}
		if in.Buffered() < len(head) {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// Run sends frames.
func (l *raw) Run(ctx context.Context, d time.Duration) (uint64, error) {
	return all(len(l.conns), func(i int) (uint64, error) {
		in, out := l.in[i], l.out[i]
		var head [8]byte
		var ack [4]byte
		return pump(ctx, d, l.o.Window, func(n uint64) error {
			binary.BigEndian.PutUint32(head[:], uint32(len(l.o.Payload)))
			binary.BigEndian.PutUint32(head[4:], uint32(n))
			if _, err := out.Write(head[:]); err != nil {
				return err
			}
			_, err := out.Write(l.o.Payload)
			return err
		}, out.Flush, func() error {
			_, err := io.ReadFull(in, ack[:])
			return err
		})
	})
}

// Close ends the connections.
func (l *raw) Close() error {
	var errs []error
	for _, c := range l.conns {
		errs = append(errs, c.Close())
	}
	errs = append(errs, l.ln.Close())
	l.serving.Wait()
	return errors.Join(errs...)
}
