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
	"encoding/base64"
	"errors"
	"fmt"
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
