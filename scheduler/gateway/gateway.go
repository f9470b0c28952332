// Package gateway is the agents' door: gRPC over mutual TLS.
//
//	Clock   what time it is, for who looks whether it could connect
//	Enrol   site key + certificate request ──► agent, certificate
//	Link    Hello ──► Welcome, then   instructions, signed        ──►
//	                                  ◄── stored, reports, inventory, clock
//	        a command ──► its progress and result ◄──;  a permit? ◄── granted ──►
//
// It turns what the wire says into calls of the scheduler and back; it decides
// nothing. docs/wire.md tells the protocol.
package gateway

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Options configure a Gateway.
type Options struct {
	ThumbnailEvery time.Duration // at most one thumbnail per camera in this time; default 1 h; negative: with every capture
	Log            *slog.Logger  // default: none

	// DropAck, if set, is asked before each acknowledgement of a report; true
	// loses it. Only tests set it.
	DropAck func() bool

	// Thumbnail, if set, is told each thumbnail as it came, whatever becomes of
	// it. Only tests set it.
	Thumbnail func(camera fleet.CameraID, jpeg []byte)
}

// Gateway serves agents.
type Gateway struct {
	wire.UnimplementedAgentsServer

	sched *scheduler.Scheduler
	pki   *PKI
	opts  Options
	log   *slog.Logger
	tries *throttle
}

const (
	maxMessage   = 4 << 20
	maxDevices   = 4096
	maxDeviceLen = 64 << 10
	helloWait    = 10 * time.Second
	drainWait    = 2 * time.Second

	// silence is after how long an agent is asked whether it is there, and how
	// long it may take to answer: together less than agent-dead (15 s), so that
	// a cable that was pulled is known in time.
	silence = 5 * time.Second

	// readBuffer would be kept for each connection, busy or not. TLS holds the
	// record it has read anyway: reading frames out of that costs no system call.
	readBuffer = 0

	// window bounds what one agent may send that is not taken in yet: 4 reports
	// of 10 kB and 4 thumbnails of 15 kB, and as much again. A fixed one spares
	// the pings by which gRPC would find its own.
	window = 256 << 10
)

// New returns a gateway for the scheduler.
func New(s *scheduler.Scheduler, p *PKI, o Options) *Gateway {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.ThumbnailEvery == 0:
		o.ThumbnailEvery = time.Hour
	case o.ThumbnailEvery < 0:
		o.ThumbnailEvery = 0
	}
	return &Gateway{sched: s, pki: p, opts: o, log: o.Log, tries: newThrottle()}
}

// NewServer returns a gRPC server as agents meet it, with its credentials,
// limits and buffers. Who makes one registers what answers.
func NewServer(p *PKI) (*grpc.Server, error) {
	conf, err := p.TLS()
	if err != nil {
		return nil, err
	}
	return grpc.NewServer(
		grpc.Creds(credentials.NewTLS(conf)),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(16),
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: silence, Timeout: silence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	), nil
}

// Serve answers agents on ln until ctx ends; then it lets streams end for a
// moment and cuts the rest.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	srv, err := NewServer(g.pki)
	if err != nil {
		return err
	}
	wire.RegisterAgentsServer(srv, g)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve agents: %w", err)
	case <-ctx.Done():
	}
	stopped := make(chan struct{})
	go func() { srv.GracefulStop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(drainWait):
		srv.Stop()
		<-stopped
	}
	<-done
	return nil
}

// Enrol turns a site key into an agent.
func (g *Gateway) Enrol(ctx context.Context, r *wire.EnrolRequest) (*wire.EnrolResponse, error) {
	from := ""
	if p, ok := peer.FromContext(ctx); ok {
		if host, _, err := net.SplitHostPort(p.Addr.String()); err == nil {
			from = host
		}
	}
	if !g.tries.allow(from, time.Now()) {
		return nil, status.Error(codes.ResourceExhausted, "too many refused site keys from this address: wait a minute")
	}
	secret, err := base64.RawURLEncoding.DecodeString(r.GetKey())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the site key's secret is damaged")
	}
	a, err := g.sched.Enrol(ctx, secret, r.GetHostname(), r.GetVersion())
	if err != nil {
		if errors.Is(err, scheduler.ErrUnauthorized) {
			g.tries.refused(from, time.Now())
		}
		g.log.WarnContext(ctx, "enrolment refused", "address", from, "err", err)
		return nil, toStatus(err)
	}
	cert, err := g.pki.agent(r.GetCsr(), a)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	g.log.InfoContext(ctx, "agent enrolled", "agent_id", a.ID, "site", a.Site, "state", a.State)
	return &wire.EnrolResponse{Agent: string(a.ID), Site: string(a.Site), Certificate: cert, Ca: g.pki.CA.Raw, OrderKey: g.pki.OrderKey()}, nil
}

// Clock tells the time to who looks whether it could connect.
func (g *Gateway) Clock(_ context.Context, p *wire.ClockProbe) (*wire.ClockAnswer, error) {
	now := time.Now().UnixNano()
	return &wire.ClockAnswer{T1: p.GetT1(), T2: now, T3: now}, nil
}

// Link is one agent's stream.
func (g *Gateway) Link(stream wire.Agents_LinkServer) error {
	id, err := agentOf(stream.Context())
	if err != nil {
		return err
	}
	first, err := recvWithin(stream, helloWait)
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message must be a Hello")
	}
	if hello.GetWireVersion() != wire.Version {
		return status.Errorf(codes.FailedPrecondition, "this centre speaks wire version %d, the agent %d: update the older of the two", wire.Version, hello.GetWireVersion())
	}
	var link *scheduler.Link
	aside(func() { link, err = g.sched.Connect(stream.Context(), id, hello.GetHostname(), hello.GetVersion()) })
	if err != nil {
		return toStatus(err)
	}
	s := &session{g: g, link: link, stream: stream, room: make(chan struct{}, maxReports), asks: make(chan struct{}, maxAsks)}
	g.log.InfoContext(stream.Context(), "agent connected", "agent_id", id, "site", link.Site(), "version", hello.GetVersion())
	err = s.run(hello)
	g.sched.Disconnect(context.WithoutCancel(stream.Context()), link, err == nil)
	g.log.InfoContext(stream.Context(), "agent disconnected", "agent_id", id, "err", err)
	return toStatus(err)
}

// agentOf reads who speaks from the verified client certificate.
func agentOf(ctx context.Context) (fleet.AgentID, error) {
	p, ok := peer.FromContext(ctx)
	if ok {
		if t, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(t.State.VerifiedChains) > 0 {
			return fleet.AgentID(t.State.VerifiedChains[0][0].Subject.CommonName), nil
		}
	}
	return "", status.Error(codes.Unauthenticated, "an agent's certificate is needed: enrol first")
}

func recvWithin(stream wire.Agents_LinkServer, d time.Duration) (*wire.FromAgent, error) {
	type result struct {
		m   *wire.FromAgent
		err error
	}
	got := make(chan result, 1) // the reader ends with the stream at the latest
	go func() {
		m, err := stream.Recv()
		got <- result{m, err}
	}()
	select {
	case r := <-got:
		return r.m, r.err
	case <-time.After(d):
		return nil, status.Error(codes.DeadlineExceeded, "no Hello came")
	}
}

// aside runs f on a goroutine of its own and waits for it. Connecting writes to
// the store, which needs 16 kB of stack and more; on the stream's goroutine that
// would stay for as long as the agent does, or until collections shrink it.
func aside(f func()) {
	var wg sync.WaitGroup
	wg.Go(f)
	wg.Wait()
}

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

func standing(v *scheduler.Standing) *wire.Standing {
	m := &wire.Standing{Version: v.Version, UntilMs: int64(v.Until), Places: v.Places, Masks: masks(v.Masks)}
	for _, c := range v.Schedules {
		m.Schedules = append(m.Schedules, &wire.StandingSchedule{Id: uint64(c.ID), Revision: c.Revision, Spec: c.Spec})
	}
	for _, t := range v.Tasks {
		m.Tasks = wire.AppendTask(m.Tasks, wire.Task(t))
	}
	for _, p := range v.Pauses {
		m.Pauses = append(m.Pauses, &wire.StandingPause{Camera: uint64(p.Camera), Schedule: uint64(p.Schedule), FromMs: int64(p.From), UntilMs: int64(p.Until)})
	}
	return m
}

// able reads what an agent says it can do, within limits.
func able(h *wire.Hello) fleet.Able {
	a := fleet.Able{Cores: int(h.GetCores()), Analyzers: few(h.GetAnalyzers()), Tags: few(h.GetTags()), Masks: h.GetMasks()}
	for _, c := range few(h.GetCodecs()) {
		a.Codecs = append(a.Codecs, fleet.Codec(c))
	}
	return a
}

// few bounds a list of words that an agent sent.
func few(words []string) (out []string) {
	for _, w := range words[:min(len(words), 64)] {
		if len(w) <= 64 {
			out = append(out, w)
		}
	}
	return out
}

func load(l *wire.Load) fleet.Load {
	return fleet.Load{
		CPU: share(l.GetCpu()), Pressure: share(l.GetPressure()), RSS: l.GetRssBytes(), Available: l.GetAvailableBytes(),
		Capturing: int(l.GetCapturing()), Queue: int(l.GetQueue()), Decoding: int(l.GetDecoding()), Capacity: positive(l.GetCapacity()),
	}
}

// share and positive keep NaN and nonsense out of what is computed with them.
func share(v float64) float64 { return min(positive(v), 1) }

func positive(v float64) float64 {
	if v > 0 && v < 1e9 {
		return v
	}
	return 0
}

func cameras(l *scheduler.CameraList) *wire.Cameras {
	m := &wire.Cameras{Version: l.Version, Full: true, SiteCredentials: creds(l.Site)}
	for _, t := range l.Cameras {
		c := &wire.CameraConfig{Id: uint64(t.Camera), Device: t.Device, Source: t.Source, Credentials: creds(t.Credentials), Same: t.Same, Apart: t.Apart, Mask: mask(&t.Mask)}
		for _, e := range t.Endpoints {
			c.Endpoints = append(c.Endpoints, &wire.Endpoint{Protocol: string(e.Protocol), Url: e.URL})
		}
		m.Put = append(m.Put, c)
	}
	return m
}

func creds(cs []fleet.Credentials) (out []*wire.Credential) {
	for _, c := range cs {
		out = append(out, &wire.Credential{User: c.User, Password: c.Password.Reveal(), Version: c.Version})
	}
	return out
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

func parseDevices(raw [][]byte) ([]fleet.Device, error) {
	if len(raw) > maxDevices {
		return nil, fmt.Errorf("%d devices, at most %d", len(raw), maxDevices)
	}
	out := make([]fleet.Device, 0, len(raw))
	for _, b := range raw {
		if len(b) > maxDeviceLen {
			return nil, fmt.Errorf("a device of %d bytes", len(b))
		}
		var d fleet.Device
		if err := json.Unmarshal(b, &d); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// toStatus is the one table from errors to codes; uplink reads it back.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Unavailable
	switch {
	case errors.Is(err, scheduler.ErrUnauthorized):
		code = codes.PermissionDenied
	case errors.Is(err, scheduler.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, scheduler.ErrSuperseded):
		code = codes.Aborted
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	return status.Error(code, err.Error())
}
