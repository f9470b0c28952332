package uplink

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// welcomeTimeout bounds connect, handshake, Hello and Welcome together.
const welcomeTimeout = 20 * time.Second

// link is one stream, from Hello to its end.
type link struct {
	u      *Uplink
	id     Identity
	stream grpc.BidiStreamingClient[wire.FromAgent, wire.FromCentre]

	send         sync.Mutex        // one message at a time
	instructions chan *wire.Signed // capacity: what may wait while a commit is under way; then the stream waits
	stored       chan uint64       // report batches the centre has stored; capacity as the window, for it never sends more
	thumbStored  chan uint64
	answered     chan struct{} // capacity 1: a probe was answered
	measured     chan struct{} // closed with the first answer
	first        sync.Once
	listed       chan struct{} // closed once the centre's list of cameras has come
	hasList      sync.Once
	showing      sync.Mutex // a thumbnail is looked at and sent, or the list of cameras changes

	commands commands
	work     *errgroup.Group // commands that are under way
}

// link runs one stream until it ends; it never returns nil unless ctx is done.
func (u *Uplink) link(ctx context.Context, id Identity) error {
	config, err := id.tls()
	if err != nil {
		return err
	}
	conn, err := dial(u.opts.Server, config, u.dialOptions()...)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &link{
		u: u, id: id,
		instructions: make(chan *wire.Signed, 16),
		stored:       make(chan uint64, u.opts.Window),
		thumbStored:  make(chan uint64, thumbWindow),
		answered:     make(chan struct{}, 1),
		measured:     make(chan struct{}),
		listed:       make(chan struct{}),
	}
	slow := time.AfterFunc(welcomeTimeout, cancel)
	welcome, err := l.open(ctx, wire.NewAgentsClient(conn))
	if !slow.Stop() && err != nil {
		return fmt.Errorf("link to %s: no welcome within %v", u.opts.Server, welcomeTimeout)
	}
	if err != nil {
		return fmt.Errorf("link to %s: %w", u.opts.Server, explain(err))
	}
	u.up(id)
	u.permits.linked(true, welcome.GetPermits())
	defer u.permits.linked(false, false)
	every := time.Duration(welcome.GetThumbnailEveryMs()) * time.Millisecond
	g, ctx := errgroup.WithContext(ctx)
	l.work = g
	g.Go(func() error { return l.receive(ctx) })
	g.Go(func() error { return l.obey(ctx) })
	g.Go(func() error { return l.report(ctx) })
	g.Go(func() error { return l.probe(ctx) })
	g.Go(func() error { return l.show(ctx, every) })
	g.Go(func() error { return l.tell(ctx) })
	g.Go(func() error { return l.permits(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		cancel() // a Send that waits for the other side ends with the stream
		return nil
	})
	return g.Wait()
}

func (l *link) open(ctx context.Context, client wire.AgentsClient) (*wire.Welcome, error) {
	stream, err := client.Link(ctx)
	if err != nil {
		return nil, err
	}
	l.stream = stream
	s := l.u.store
	nonce, _ := s.Last()
	held, _, pending := s.Counts()
	hello := &wire.Hello{WireVersion: wire.Version, Version: l.u.opts.Version, Hostname: l.u.opts.Hostname, CamerasVersion: s.CamerasVersion(),
		Nonce: nonce, OrdersHeld: uint64(held), OutboxPending: uint64(pending), StandingVersion: s.StandingVersion(),
		Cores: uint32(max(0, l.u.opts.Able.Cores)), Analyzers: l.u.opts.Able.Analyzers, Tags: l.u.opts.Able.Tags,
		Masks: l.u.opts.Able.Masks}
	for _, c := range l.u.opts.Able.Codecs {
		hello.Codecs = append(hello.Codecs, string(c))
	}
	// A Send that fails says only EOF; the reason comes with Recv.
	_ = l.say(&wire.FromAgent{Body: &wire.FromAgent_Hello{Hello: hello}})
	m, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	w := m.GetWelcome()
	if w == nil {
		return nil, errors.New("the centre's first message is no welcome")
	}
	if w.GetWireVersion() != wire.Version {
		return nil, fmt.Errorf("the centre speaks version %d of the agents' protocol and this agent %d: update the older one", w.GetWireVersion(), wire.Version)
	}
	return w, nil
}

func (l *link) say(m *wire.FromAgent) error {
	l.send.Lock()
	defer l.send.Unlock()
	return l.stream.Send(m)
}

// receive hands each message to who waits for it. It must not wait for the
// disk itself: the answer to a probe is stamped here.
func (l *link) receive(ctx context.Context) error {
	for {
		m, err := l.stream.Recv()
		if err != nil {
			return fmt.Errorf("stream ended: %w", explain(err))
		}
		switch b := m.GetBody().(type) {
		case *wire.FromCentre_ClockAnswer:
			a := b.ClockAnswer
			l.u.clock.Measure(time.Unix(0, a.GetT1()), time.Unix(0, a.GetT2()), time.Unix(0, a.GetT3()), l.u.clock.Local())
			l.first.Do(func() { close(l.measured) })
			select {
			case l.answered <- struct{}{}:
			default:
			}
		case *wire.FromCentre_Signed:
			err = hand(ctx, l.instructions, b.Signed)
		case *wire.FromCentre_ReportStored:
			err = hand(ctx, l.stored, b.ReportStored.GetBatch())
		case *wire.FromCentre_ThumbnailStored:
			err = hand(ctx, l.thumbStored, b.ThumbnailStored.GetBatch())
		case *wire.FromCentre_PermitAnswer:
			l.u.permits.answered(b.PermitAnswer)
		}
		// InventoryStored needs nobody: a list that was lost with its stream is
		// sent again with the next one.
		if err != nil {
			return err
		}
	}
}

func hand[T any](ctx context.Context, c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// obey takes instructions in their order. Those that the disk refused are
// acknowledged once it has taken them after all.
func (l *link) obey(ctx context.Context) error {
	// Expiry is judged by the centre's clock, whose first answer may come behind
	// instructions: those wait here, for the answer is read after them.
	var early []*wire.Signed
	for measured := false; !measured; {
		select {
		case <-l.measured:
			measured = true
		case s := <-l.instructions:
			if early = append(early, s); len(early) > maxEarly {
				return fmt.Errorf("the centre sent %d instructions and no answer to the clock's probe", len(early))
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var late []uint64
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		var s *wire.Signed
		if len(early) > 0 {
			s, early = early[0], early[1:]
		} else {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case s = <-l.instructions:
			case <-retry.C:
			}
		}
		if s == nil {
			if len(late) == 0 || l.u.store.Sync(ctx) != nil {
				continue
			}
			for _, nonce := range late {
				if err := l.acknowledge(nonce); err != nil {
					return err
				}
			}
			late = nil
			continue
		}
		in, err := l.verify(s)
		if err != nil {
			l.u.count(func(s *Status) { s.Refused++ })
			l.u.log.WarnContext(ctx, "instruction refused", "nonce", in.GetNonce(), "err", err)
			continue
		}
		switch err := l.take(ctx, in); {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errListLost):
			return err
		case err == nil:
			if err := l.acknowledge(in.GetNonce()); err != nil {
				return err
			}
		default:
			l.u.log.WarnContext(ctx, "instruction is not taken, or not durable: it is not acknowledged", "nonce", in.GetNonce(), "err", err)
			if n, _ := l.u.store.Last(); n >= in.GetNonce() {
				late = append(late, in.GetNonce())
			}
		}
	}
}

// maxEarly bounds the instructions that come before the clock is measured: a
// thousand of them hold a million orders.
const maxEarly = 1024

func (l *link) acknowledge(nonce uint64) error {
	return l.say(&wire.FromAgent{Body: &wire.FromAgent_OrdersStored{OrdersStored: &wire.OrdersStored{Nonce: nonce}}})
}

// verify accepts an instruction that the centre signed for this agent, now,
// for the first time.
func (l *link) verify(s *wire.Signed) (*wire.Instruction, error) {
	signed := append([]byte(wire.SigningContext), s.GetInstruction()...)
	if !ed25519.Verify(l.id.OrderKey, signed, s.GetSignature()) {
		return nil, errors.New("it is not signed by the centre")
	}
	in := &wire.Instruction{}
	if err := proto.Unmarshal(s.GetInstruction(), in); err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	nonce, fence := l.u.store.Last()
	switch now := l.u.clock.Now(); {
	case fleet.AgentID(in.GetAgent()) != l.id.Agent:
		return in, fmt.Errorf("it is for agent %q", in.GetAgent())
	case in.GetNonce() <= nonce:
		return in, fmt.Errorf("its nonce %d is not above %d", in.GetNonce(), nonce)
	case in.GetFence() < fence:
		return in, fmt.Errorf("its fence %d is below %d", in.GetFence(), fence)
	case in.GetExpiresMs() <= now.UnixMilli():
		return in, fmt.Errorf("it expired at %s, %v ago", fleet.Instant(in.GetExpiresMs()), now.Sub(time.UnixMilli(in.GetExpiresMs())).Round(time.Millisecond))
	}
	return in, nil
}

// take does what an instruction says, and returns once it is durable.
func (l *link) take(ctx context.Context, in *wire.Instruction) error {
	s, nonce, fence := l.u.store, in.GetNonce(), in.GetFence()
	switch b := in.GetBody().(type) {
	case *wire.Instruction_Orders:
		orders, err := wire.ParseOrders(b.Orders.GetPacked())
		if err != nil {
			return fmt.Errorf("orders: %w", err)
		}
		if err := l.need(ctx, b.Orders.GetMasks()); err != nil {
			return err
		}
		return s.Begin(ctx, orders, nonce, fence)
	case *wire.Instruction_Recall:
		orders, err := wire.ParseOrders(b.Recall.GetPacked())
		if err != nil {
			return fmt.Errorf("recall: %w", err)
		}
		list := make([]fleet.Occurrence, len(orders))
		for i, o := range orders {
			list[i] = o.Occurrence
		}
		_, err = s.Recall(ctx, list, nonce, fence)
		return err
	case *wire.Instruction_Cameras:
		return l.list(ctx, cameras(b.Cameras), nonce, fence)
	case *wire.Instruction_Standing:
		if err := l.need(ctx, b.Standing.GetMasks()); err != nil {
			return err
		}
		raw, err := proto.Marshal(b.Standing)
		if err != nil {
			return fmt.Errorf("standing orders: %w", err)
		}
		// Standing orders are of no use after a restart without a clock: it goes
		// into the same commit.
		if offset, bound, ok := l.u.clock.Offset(); ok {
			if err := s.SetClock(offset, bound); err != nil {
				return err
			}
		}
		return s.SetStanding(ctx, b.Standing.GetVersion(), raw, fleet.At(l.u.clock.Now()), nonce, fence)
	case *wire.Instruction_Command:
		return l.command(ctx, b.Command, nonce, fence)
	case *wire.Instruction_Cancel:
		if err := s.Begin(ctx, nil, nonce, fence); err != nil {
			return err
		}
		l.commands.cancel(b.Cancel.GetId())
		return nil
	}
	return fmt.Errorf("instruction %d: this agent does not know its kind: update it", nonce)
}

// probe measures the clock, quickly at first, and ends the link when the
// centre does not answer.
func (l *link) probe(ctx context.Context) error {
	for n := 0; ; n++ {
		t1 := l.u.clock.Local().UnixNano()
		if err := l.say(&wire.FromAgent{Body: &wire.FromAgent_ClockProbe{ClockProbe: &wire.ClockProbe{T1: t1}}}); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		t := time.NewTimer(l.u.opts.Heartbeat)
		select {
		case <-l.answered:
			t.Stop()
		case <-t.C:
			return fmt.Errorf("the centre is silent for %v", l.u.opts.Heartbeat)
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		wait := l.u.opts.Heartbeat
		if n < keptSamples {
			wait = min(wait, 250*time.Millisecond)
		}
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// inventoryBytes is how much of the inventory goes into one message: a device
// that is not in it stays as it was, so a long list may come in parts, and the
// centre takes 4 MiB at a time.
const inventoryBytes = 1 << 20

// tell sends the inventory whenever it changes, and the load now and then.
func (l *link) tell(ctx context.Context) error {
	load := time.NewTicker(l.u.opts.LoadEvery)
	defer load.Stop()
	l.u.inventory.again() // the centre may be another one than last time
	for {
		if batch, devices := l.u.inventory.take(); devices != nil {
			m, size := &wire.Inventory{Batch: batch}, 0
			say := func() error {
				if err := l.say(&wire.FromAgent{Body: &wire.FromAgent_Inventory{Inventory: m}}); err != nil {
					return fmt.Errorf("inventory: %w", err)
				}
				m, size = &wire.Inventory{Batch: batch}, 0
				return nil
			}
			for _, d := range devices {
				b, err := json.Marshal(d)
				if err != nil {
					return fmt.Errorf("inventory: %w", err)
				}
				if size += len(b); size > inventoryBytes && len(m.Devices) > 0 {
					if err := say(); err != nil {
						return err
					}
					size = len(b)
				}
				m.Devices = append(m.Devices, b)
			}
			if err := say(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.u.inventory.changed:
		case <-load.C:
			held, _, pending := l.u.store.Counts()
			b := l.u.opts.Load()
			m := &wire.Load{OrdersHeld: uint64(held), OutboxPending: uint64(pending), Capturing: uint32(b.Capturing), RssBytes: b.RSS,
				Cpu: b.CPU, Pressure: b.Pressure, AvailableBytes: b.Available, Queue: uint32(b.Queue), Decoding: uint32(b.Decoding), Capacity: b.Capacity}
			if err := l.say(&wire.FromAgent{Body: &wire.FromAgent_Load{Load: m}}); err != nil {
				return fmt.Errorf("load: %w", err)
			}
		}
	}
}
