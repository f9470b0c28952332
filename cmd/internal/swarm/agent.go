package swarm

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// agent is one simulated agent.
type agent struct {
	s     *Swarm
	index uint32
	id    *Identity

	sending sync.Mutex // a stream takes one Send at a time; before mu

	mu      sync.Mutex
	stream  wire.Agents_LinkClient // nil while there is none
	ended   bool                   // hung up: no new stream
	nonce   uint64                 // of the last instruction taken
	fence   uint64                 // highest seen
	held    map[fleet.Occurrence]uint32
	open    *batch   // being filled; nil when empty
	full    []*batch // to be sent, oldest first
	flying  []*batch // sent, not answered
	number  uint64   // of the last batch
	queued  bool     // in the outbox, or being sent for
	beating bool     // a heartbeat is filed
	due     bool     // a heartbeat is to be sent
}

// reported stands in held for an occurrence whose outcome is not acknowledged.
const reported = ^uint32(0)

// batch is one report.
type batch struct {
	number  uint64
	packed  []byte
	of      []fleet.Occurrence
	at      fleet.Instant // of its last capture
	counted bool          // its nominal times are measured
	sent    time.Time
}

// maxMessage bounds one message from the centre, as agent/uplink does.
const maxMessage = 16 << 20

// Dial prepares a connection with the settings of agent/uplink, but for its
// keepalive, a goroutine each; extra options come last.
func Dial(server string, c *tls.Config, extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+server, append([]grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(c)),
		grpc.WithNoProxy(),
		grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(32 << 10),
		grpc.WithStaticStreamWindowSize(256 << 10), grpc.WithStaticConnWindowSize(256 << 10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}, extra...)...)
}

// run keeps the agent linked until ctx ends; life is that of its streams.
func (a *agent) run(ctx, life context.Context, dialing chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case dialing <- struct{}{}:
		}
		err := a.link(ctx, life, dialing)
		if ctx.Err() != nil {
			return
		}
		a.s.log.WarnContext(ctx, "stream ended", "agent_id", a.id.Agent, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second + rand.N(time.Second)):
		}
	}
}

// link runs one stream until it ends. It frees its place in dialing once the
// centre has said welcome.
func (a *agent) link(ctx, life context.Context, dialing chan struct{}) error {
	release := sync.OnceFunc(func() { <-dialing })
	defer release()
	config, err := a.id.TLS(a.s.roots)
	if err != nil {
		return err
	}
	conn, err := Dial(a.s.opts.Server, config)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	life, cancel := context.WithCancel(life)
	defer cancel()
	impatient := context.AfterFunc(ctx, cancel) // until there is a stream to close in order
	stream, err := wire.NewAgentsClient(conn).Link(life)
	if err != nil {
		return err
	}
	a.mu.Lock()
	hello := &wire.Hello{WireVersion: wire.Version, Version: "bench", Hostname: string(a.id.Agent), Codecs: []string{string(fleet.JPEG)}, Nonce: a.nonce, Cores: 4}
	a.mu.Unlock()
	// A Send that fails says only EOF; the reason comes with Recv.
	_ = stream.Send(&wire.FromAgent{Body: &wire.FromAgent_Hello{Hello: hello}})
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	if m.GetWelcome() == nil {
		return errors.New("the centre's first message is no welcome")
	}
	if !impatient() || !a.up(stream) {
		return nil // hung up meanwhile
	}
	release()
	defer a.down()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := a.obey(stream, m); err != nil {
			return err
		}
	}
}

func (a *agent) up(stream wire.Agents_LinkClient) bool {
	a.mu.Lock()
	if a.ended {
		a.mu.Unlock()
		return false
	}
	a.stream = stream
	a.queue()
	beat := !a.beating
	a.beating = true
	a.mu.Unlock()
	if beat {
		// Spread: agents that all connected at once must not all speak at once.
		a.s.at(fleet.At(time.Now().Add(rand.N(a.s.opts.Heartbeat))), keyBeat|a.index)
	}
	a.s.count(func(s *Stats) { s.Agents++; s.Links++ })
	return true
}

// down takes back what was not answered.
func (a *agent) down() {
	a.mu.Lock()
	a.stream = nil
	a.full = append(slices.Clone(a.flying), a.full...)
	a.flying = nil
	a.mu.Unlock()
	a.s.count(func(s *Stats) { s.Agents-- })
}

// hangUp closes the stream in order, and for good.
func (a *agent) hangUp() {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.mu.Lock()
	a.ended = true
	stream := a.stream
	a.mu.Unlock()
	if stream != nil {
		_ = stream.CloseSend() // Recv says how it ended
	}
}

func (a *agent) say(stream wire.Agents_LinkClient, m *wire.FromAgent) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.mu.Lock()
	ended := a.ended
	a.mu.Unlock()
	if ended {
		return nil // Send after CloseSend is a fault
	}
	return stream.Send(m)
}

// obey does what the centre says. Its error ends the stream.
func (a *agent) obey(stream wire.Agents_LinkClient, m *wire.FromCentre) error {
	switch b := m.GetBody().(type) {
	case *wire.FromCentre_ReportStored:
		a.stored(b.ReportStored.GetBatch())
	case *wire.FromCentre_Signed:
		in, err := a.verify(b.Signed)
		if err == nil {
			err = a.instruct(in)
		}
		if err != nil {
			a.s.count(func(s *Stats) { s.Refused++ })
			a.s.log.Warn("instruction refused", "agent_id", a.id.Agent, "err", err)
			return nil
		}
		if err := a.say(stream, &wire.FromAgent{Body: &wire.FromAgent_OrdersStored{OrdersStored: &wire.OrdersStored{Nonce: in.GetNonce()}}}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

func (a *agent) verify(m *wire.Signed) (*wire.Instruction, error) {
	if !a.s.opts.Trusting {
		signed := append([]byte(wire.SigningContext), m.GetInstruction()...)
		if !ed25519.Verify(a.s.orders, signed, m.GetSignature()) {
			return nil, errors.New("it is not signed by the centre")
		}
	}
	in := &wire.Instruction{}
	if err := proto.Unmarshal(m.GetInstruction(), in); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case fleet.AgentID(in.GetAgent()) != a.id.Agent:
		return nil, fmt.Errorf("it is for agent %q", in.GetAgent())
	case in.GetNonce() <= a.nonce:
		return nil, fmt.Errorf("its nonce %d is not above %d", in.GetNonce(), a.nonce)
	case in.GetFence() < a.fence:
		return nil, fmt.Errorf("its fence %d is below %d", in.GetFence(), a.fence)
	case in.GetExpiresMs() <= time.Now().UnixMilli():
		return nil, errors.New("it has expired")
	}
	a.nonce, a.fence = in.GetNonce(), in.GetFence()
	return in, nil
}

// instruct takes orders in and gives them back. Camera lists and standing
// orders are acknowledged and not kept: the cameras here need no address, and
// the centre stays in reach.
func (a *agent) instruct(in *wire.Instruction) error {
	switch b := in.GetBody().(type) {
	case *wire.Instruction_Orders:
		orders, err := wire.ParseOrders(b.Orders.GetPacked())
		if err != nil {
			return err
		}
		a.hold(orders)
	case *wire.Instruction_Recall:
		orders, err := wire.ParseOrders(b.Recall.GetPacked())
		if err != nil {
			return err
		}
		a.recall(orders)
	case *wire.Instruction_Cameras, *wire.Instruction_Standing:
	default:
		return fmt.Errorf("instruction %d is of a kind that a simulated agent does not know", in.GetNonce())
	}
	return nil
}

func (a *agent) hold(orders []fleet.Order) {
	s := a.s
	now := time.Now()
	var repeated uint64
	early := false
	a.mu.Lock()
	s.mu.Lock()
	for i := range orders {
		o := &orders[i]
		if _, ok := a.held[o.Occurrence]; ok {
			repeated++
			continue
		}
		var k uint32
		if n := len(s.free); n > 0 {
			k, s.free = s.free[n-1], s.free[:n-1]
		} else {
			k = uint32(len(s.slots))
			s.slots = append(s.slots, slot{})
		}
		s.slots[k] = slot{order: *o, agent: a.index}
		a.held[o.Occurrence] = k
		s.wheel.Add(o.Start(), k)
		early = early || o.Start() < s.until
	}
	s.mu.Unlock()
	a.mu.Unlock()
	if early {
		s.kick()
	}
	s.count(func(c *Stats) {
		if c.FirstOrder == 0 {
			c.FirstOrder = now.UnixNano()
		}
		c.Orders += uint64(len(orders)) - repeated
		c.Repeated += repeated
	})
}

func (a *agent) recall(orders []fleet.Order) {
	s := a.s
	var n uint64
	a.mu.Lock()
	s.mu.Lock()
	for i := range orders {
		k, ok := a.held[orders[i].Occurrence]
		if !ok || k == reported || s.slots[k].order.Occurrence != orders[i].Occurrence {
			continue // never came, or has begun
		}
		s.slots[k].order = fleet.Order{} // its place in the wheel frees the slot
		delete(a.held, orders[i].Occurrence)
		n++
	}
	s.mu.Unlock()
	a.mu.Unlock()
	s.count(func(c *Stats) { c.Recalled += n })
}

// take packs the outcome of an order.
func (a *agent) take(o *fleet.Order, now time.Time) {
	a.mu.Lock()
	b := a.open
	fresh := b == nil
	if fresh {
		b = &batch{}
		a.open = b
	}
	b.packed = wire.AppendCapture(b.packed, Outcome(o, now))
	b.of = append(b.of, o.Occurrence)
	b.at = fleet.At(now)
	b.counted = b.counted || o.Nominal >= a.s.opts.From && o.Nominal < a.s.opts.Until
	a.held[o.Occurrence] = reported
	if len(b.of) >= a.s.opts.Batch {
		a.shut()
		fresh = false
	}
	a.mu.Unlock()
	if fresh {
		a.s.at(fleet.At(now.Add(a.s.opts.Linger)), keyLinger|a.index)
	}
}

// shut puts the open batch among those to send. a.mu is held.
func (a *agent) shut() {
	if a.open != nil {
		a.full = append(a.full, a.open)
		a.open = nil
	}
	a.queue()
}

// close shuts a batch that has waited for more long enough. One that was begun
// after its forerunner was full may go a little early.
func (a *agent) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shut()
}

// queue asks for a sender. a.mu is held.
func (a *agent) queue() {
	if !a.queued && a.stream != nil && (len(a.full) > 0 && len(a.flying) < a.s.opts.Window || a.due) {
		a.queued = true
		a.s.outbox <- a // never waits: a is in it once, and there is a place for each
	}
}

func (a *agent) beat() {
	a.mu.Lock()
	a.due = true
	a.queue()
	a.mu.Unlock()
	a.s.at(fleet.At(time.Now().Add(a.s.opts.Heartbeat)), keyBeat|a.index)
}

// send says what there is to say. Errors are Recv's to tell: what was not
// answered is sent again on the next stream.
func (a *agent) send() {
	for {
		a.mu.Lock()
		stream := a.stream
		var b *batch
		beat := a.due
		switch {
		case stream == nil:
		case beat:
			a.due = false
		case len(a.full) > 0 && len(a.flying) < a.s.opts.Window:
			b = a.full[0]
			a.full = a.full[1:]
			a.number++
			b.number, b.sent = a.number, time.Now()
			a.flying = append(a.flying, b)
		}
		if stream == nil || !beat && b == nil {
			a.queued = false
			a.mu.Unlock()
			return
		}
		held, pending := uint64(len(a.held)), uint64(0)
		for _, b := range a.full {
			pending += uint64(len(b.of))
		}
		a.mu.Unlock()
		if beat {
			_ = a.say(stream, &wire.FromAgent{Body: &wire.FromAgent_ClockProbe{ClockProbe: &wire.ClockProbe{T1: time.Now().UnixNano()}}})
			_ = a.say(stream, &wire.FromAgent{Body: &wire.FromAgent_Load{Load: &wire.Load{OrdersHeld: held, OutboxPending: pending, RssBytes: 40 << 20, Cpu: 0.1, AvailableBytes: 1 << 30, Capacity: 1000}}})
			continue
		}
		a.report(stream, b, pending)
	}
}

func (a *agent) report(stream wire.Agents_LinkClient, b *batch, pending uint64) {
	s := a.s
	sample := Sent{Camera: b.of[len(b.of)-1].Camera, At: b.at, Sent: b.sent.UnixNano()}
	_ = a.say(stream, &wire.FromAgent{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: b.number, Packed: b.packed, Pending: pending}}})
	tell := false
	s.count(func(c *Stats) {
		c.Reports++
		if s.opts.Sent != nil && b.sent.Sub(s.lastSent) >= s.opts.Sample {
			s.lastSent, tell = b.sent, true
		}
	})
	if tell {
		s.opts.Sent(sample)
	}
}

// stored forgets a report that the centre has made durable.
func (a *agent) stored(number uint64) {
	now := time.Now()
	s := a.s
	a.mu.Lock()
	i := slices.IndexFunc(a.flying, func(b *batch) bool { return b.number == number })
	if i < 0 {
		a.mu.Unlock()
		return
	}
	b := a.flying[i]
	a.flying = slices.Delete(a.flying, i, i+1)
	for _, o := range b.of {
		delete(a.held, o)
	}
	a.queue()
	a.mu.Unlock()
	s.stats.Lock()
	s.counts.Acked += uint64(len(b.of))
	if b.counted {
		s.ack.Add(now.Sub(b.sent))
	}
	s.stats.Unlock()
}
