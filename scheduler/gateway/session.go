package gateway

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// session is one stream at work.
type session struct {
	g      *Gateway
	link   *scheduler.Link
	stream wire.Agents_LinkServer

	mu sync.Mutex // Send is not safe for concurrent use

	end    context.CancelCauseFunc
	room   chan struct{} // a place for each report that is being stored
	asks   chan struct{} // and for each question whose answer is
	beside sync.WaitGroup
	state  sync.Mutex // guards ended, and that nothing begins beside the reader after it
	ended  bool
}

// maxReports is how many reports of one agent are stored at a time: with one, an
// agent could tell no more than a report for each commit.
const maxReports = 4

func (s *session) send(m *wire.FromCentre) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.Send(m)
}

// run returns nil when the agent closed the stream in order.
func (s *session) run(hello *wire.Hello) error {
	ctx, cancel := context.WithCancelCause(s.stream.Context())
	defer cancel(nil)
	s.g.sched.Heard(s.link, hello.GetOrdersHeld(), hello.GetOutboxPending(), fleet.Load{})
	if err := s.g.sched.Can(ctx, s.link, able(hello)); err != nil {
		return err
	}
	if err := s.send(&wire.FromCentre{Body: &wire.FromCentre_Welcome{Welcome: &wire.Welcome{
		WireVersion: wire.Version, Site: string(s.link.Site()), ThumbnailEveryMs: s.g.opts.ThumbnailEvery.Milliseconds(), Permits: true,
	}}}); err != nil {
		return err
	}
	// The reader can only be ended by the stream's end, so it has a goroutine of
	// its own; what is to be sent is waited for here.
	s.end = cancel
	go func() { cancel(s.read(ctx)) }()
	cancel(s.instruct(ctx))
	s.state.Lock()
	s.ended = true
	s.state.Unlock()
	s.beside.Wait()
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
		return err // the reader's, or ours: superseded or revoked
	}
	return nil
}

// instruct sends what the scheduler wants the agent to do.
func (s *session) instruct(ctx context.Context) error {
	for {
		in, err := s.link.Next(ctx)
		if err != nil {
			return err
		}
		body, err := proto.Marshal(s.instruction(in))
		if err != nil {
			return err
		}
		sig := ed25519.Sign(s.g.pki.orders, append([]byte(wire.SigningContext), body...))
		if err := s.send(&wire.FromCentre{Body: &wire.FromCentre_Signed{Signed: &wire.Signed{Instruction: body, Signature: sig}}}); err != nil {
			return err
		}
	}
}

func (s *session) instruction(in scheduler.Instruction) *wire.Instruction {
	m := &wire.Instruction{Agent: string(s.link.Agent()), Nonce: in.Nonce, ExpiresMs: int64(in.Expires), Fence: in.Fence}
	switch {
	case in.Cameras != nil:
		m.Body = &wire.Instruction_Cameras{Cameras: cameras(in.Cameras)}
	case in.Standing != nil:
		m.Body = &wire.Instruction_Standing{Standing: standing(in.Standing)}
	case in.Command != nil:
		m.Body = &wire.Instruction_Command{Command: &wire.Command{
			Id: in.Command.ID, Kind: in.Command.Kind, Argument: in.Command.Argument, DeadlineMs: int64(in.Command.Deadline),
		}}
	case in.Cancel != "":
		m.Body = &wire.Instruction_Cancel{Cancel: &wire.CommandCancel{Id: in.Cancel}}
	case in.Recall != nil:
		var b []byte
		for _, o := range in.Recall {
			b = wire.AppendOrder(b, fleet.Order{Occurrence: o, Deadline: o.Nominal})
		}
		m.Body = &wire.Instruction_Recall{Recall: &wire.Recall{Packed: b}}
	default:
		var b []byte
		for _, o := range in.Orders {
			b = wire.AppendOrder(b, o)
		}
		m.Body = &wire.Instruction_Orders{Orders: &wire.Orders{Packed: b, Masks: masks(in.Masks)}}
	}
	return m
}

// read takes in what the agent says, in order.
func (s *session) read(ctx context.Context) error {
	var in Inbound
	defer in.Release()
	for {
		m, err := in.Receive(s.stream)
		received := time.Now()
		if err != nil {
			return err
		}
		s.link.Alive(received)
		if err := s.take(ctx, m, received); err != nil {
			return err
		}
	}
}

func (s *session) take(ctx context.Context, m *wire.FromAgent, received time.Time) error {
	sched, agent := s.g.sched, s.link.Agent()
	switch b := m.GetBody().(type) {
	case *wire.FromAgent_OrdersStored:
		s.link.Stored(b.OrdersStored.GetNonce())
	case *wire.FromAgent_Report:
		cs, err := wire.ParseCaptures(b.Report.GetPacked())
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "report: %v", err)
		}
		return s.store(ctx, b.Report.GetBatch(), cs)
	case *wire.FromAgent_Thumbnail:
		t := b.Thumbnail
		if s.g.opts.Thumbnail != nil {
			s.g.opts.Thumbnail(fleet.CameraID(t.GetCamera()), t.GetJpeg())
		}
		if err := sched.PutThumbnail(ctx, agent, fleet.CameraID(t.GetCamera()), fleet.Instant(t.GetAtMs()), fleet.MaskSum(t.GetMask()), t.GetJpeg()); err != nil {
			return err
		}
		return s.send(&wire.FromCentre{Body: &wire.FromCentre_ThumbnailStored{ThumbnailStored: &wire.ThumbnailStored{Batch: t.GetBatch()}}})
	case *wire.FromAgent_Inventory:
		devices, err := parseDevices(b.Inventory.GetDevices())
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "inventory: %v", err)
		}
		if err := sched.Inventory(ctx, agent, devices); err != nil {
			return err
		}
		return s.send(&wire.FromCentre{Body: &wire.FromCentre_InventoryStored{InventoryStored: &wire.InventoryStored{Batch: b.Inventory.GetBatch()}}})
	case *wire.FromAgent_ClockProbe:
		return s.send(&wire.FromCentre{Body: &wire.FromCentre_ClockAnswer{ClockAnswer: &wire.ClockAnswer{
			T1: b.ClockProbe.GetT1(), T2: received.UnixNano(), T3: time.Now().UnixNano(),
		}}})
	case *wire.FromAgent_Load:
		sched.Heard(s.link, b.Load.GetOrdersHeld(), b.Load.GetOutboxPending(), load(b.Load))
	case *wire.FromAgent_CommandResult:
		r := b.CommandResult
		s.link.Answer(r.GetId(), r.GetDone(), r.GetResult(), r.GetError())
	case *wire.FromAgent_PermitAsk:
		return s.permit(ctx, b.PermitAsk)
	case *wire.FromAgent_LoginSettled:
		return s.settled(ctx, b.LoginSettled)
	}
	return nil
}

// store makes a report durable beside the reading of what follows, and answers
// it then.
func (s *session) store(ctx context.Context, batch uint64, cs []fleet.Capture) error {
	return s.aside(ctx, s.room, func() error {
		err := s.g.sched.Complete(ctx, s.link.Agent(), cs)
		if err == nil && (s.g.opts.DropAck == nil || !s.g.opts.DropAck()) {
			err = s.send(&wire.FromCentre{Body: &wire.FromCentre_ReportStored{ReportStored: &wire.ReportStored{Batch: batch}}})
		}
		return err
	})
}

// aside runs do beside the reading of what follows, in one of the places that
// room has. Its error ends the session.
func (s *session) aside(ctx context.Context, room chan struct{}, do func() error) error {
	select {
	case room <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.state.Lock()
	defer s.state.Unlock()
	if s.ended {
		return context.Cause(ctx)
	}
	s.beside.Go(func() {
		if err := do(); err != nil {
			s.end(err)
		}
		<-room
	})
	return nil
}
