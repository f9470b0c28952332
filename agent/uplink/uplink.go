// Package uplink is the agent's way to the centre: one gRPC stream over mutual
// TLS, dialled by the agent and dialled again whenever it breaks.
//
//	Enrol   site key ──► identity (once)
//	Run     Hello, Welcome; then instructions in, and out: reports newest first,
//	        inventory, thumbnails, clock probes
//
// It checks what the centre says (signature, agent, expiry, nonce, fence) and
// hands it to a Node; it decides nothing. docs/wire.md tells the protocol.
package uplink

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Identity is what enrolment gave the agent. It is kept in a file of its own.
type Identity struct {
	Agent       fleet.AgentID
	Site        fleet.SiteID
	Key         []byte // PKCS#8, DER; it never left this box
	Certificate []byte // DER
	CA          []byte // DER
	OrderKey    []byte // Ed25519 public key
}

// Outcome is one row of the outbox: an opaque number and a packed capture.
type Outcome struct {
	Row    int64
	Packed []byte
}

// Thumbnail is the latest frame of a camera, to be shown to people.
type Thumbnail struct {
	Occurrence fleet.Occurrence
	At         fleet.Instant
	JPEG       []byte
}

// Node is the agent as the uplink sees it. An instruction's method returns once
// it is durable; ErrRefused says it was not taken, and is answered by silence.
type Node interface {
	Orders(ctx context.Context, orders []fleet.Order, nonce, fence uint64) error
	Recall(ctx context.Context, keys []fleet.Occurrence, nonce, fence uint64) error
	Cameras(ctx context.Context, targets []fleet.Target, site []fleet.Credentials, nonce, fence uint64) error

	Pending(limit int, skip map[int64]bool) []Outcome // newest first
	Ack(ctx context.Context, rows []int64) error
	Counts() (orders, pending int)
	Nonce() uint64

	Thumbnail() (Thumbnail, bool) // the next one to send
	ThumbnailEvery(time.Duration) // the centre's wish
	Devices() []fleet.Device
}

// ErrRefused says that an instruction was stale.
var ErrRefused = errors.New("instruction refused")

// Options configure an Uplink.
type Options struct {
	Server   string // host:port
	Identity Identity
	Version  string
	Codecs   []fleet.Codec
	Resend   time.Duration // a report not acknowledged for so long is sent again; default 15 s
	Log      *slog.Logger  // default: none

	// Dial replaces the network; only tests set it.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Uplink is the agent's way to the centre.
type Uplink struct {
	opts  Options
	node  Node
	clock *Clock
	log   *slog.Logger

	outbox    chan struct{} // cap 1: there may be outcomes to send
	thumbs    chan struct{} // cap 1
	inventory chan struct{} // cap 1

	mu        sync.Mutex
	connected bool
	refused   error
}

const (
	batchRows   = 512
	batchWindow = 4 // reports on their way
	probeEvery  = 20 * time.Second
	loadEvery   = 10 * time.Second
	minRedial   = 200 * time.Millisecond
	maxRedial   = 30 * time.Second
	maxMessage  = 16 << 20
)

// New returns an uplink.
func New(n Node, c *Clock, o Options) *Uplink {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Resend = cmp.Or(o.Resend, 15*time.Second)
	return &Uplink{opts: o, node: n, clock: c, log: o.Log,
		outbox: make(chan struct{}, 1), thumbs: make(chan struct{}, 1), inventory: make(chan struct{}, 1)}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// OutcomesChanged says that there may be outcomes to send.
func (u *Uplink) OutcomesChanged() { poke(u.outbox) }

// ThumbnailsChanged says that there may be a thumbnail to send.
func (u *Uplink) ThumbnailsChanged() { poke(u.thumbs) }

// DevicesChanged says that the inventory should be sent.
func (u *Uplink) DevicesChanged() { poke(u.inventory) }

// Connected reports whether the stream stands.
func (u *Uplink) Connected() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.connected
}

// Enrol turns a site key into an identity.
func Enrol(ctx context.Context, server string, text fleet.Secret, version string) (Identity, error) {
	key, err := fleet.ParseSiteKey(text)
	if err != nil {
		return Identity{}, err
	}
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, priv)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	conn, err := grpc.NewClient("passthrough:///"+server, grpc.WithTransportCredentials(credentials.NewTLS(pinned(key.CA))))
	if err != nil {
		return Identity{}, fmt.Errorf("enrol at %s: %w", server, err)
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	res, err := wire.NewAgentsClient(conn).Enrol(ctx, &wire.EnrolRequest{
		Key: base64.RawURLEncoding.EncodeToString(key.Secret[:]), Csr: csr, Hostname: host, Version: version,
	})
	if err != nil {
		return Identity{}, fmt.Errorf("enrol at %s: %w", server, fromStatus(err))
	}
	if sha256.Sum256(res.GetCa()) != key.CA {
		return Identity{}, fmt.Errorf("enrol at %s: the centre answered with another CA than the site key names", server)
	}
	if len(res.GetOrderKey()) != ed25519.PublicKeySize || res.GetAgent() == "" {
		return Identity{}, fmt.Errorf("enrol at %s: the centre's answer is incomplete", server)
	}
	return Identity{Agent: fleet.AgentID(res.GetAgent()), Site: fleet.SiteID(res.GetSite()), Key: der, Certificate: res.GetCertificate(), CA: res.GetCa(), OrderKey: res.GetOrderKey()}, nil
}

// pinned accepts a server only under the CA with this digest, and under the
// fixed name. The system's roots play no part.
func pinned(ca [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: wire.ServerName, NextProtos: []string{"h2"},
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection below does it, against one CA
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				if sha256.Sum256(c.Raw) == ca {
					return verify(cs, c)
				}
			}
			return errors.New("this is not the centre that the site key was made by: check --server and the key")
		},
	}
}

func verify(cs tls.ConnectionState, ca *x509.Certificate) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: wire.ServerName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

func (u *Uplink) tls() (*tls.Config, error) {
	id := u.opts.Identity
	key, err := x509.ParsePKCS8PrivateKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("the agent's key is damaged: remove the identity file and enrol again: %w", err)
	}
	conf := pinned(sha256.Sum256(id.CA))
	conf.Certificates = []tls.Certificate{{Certificate: [][]byte{id.Certificate}, PrivateKey: key}}
	return conf, nil
}

// Run keeps the stream up until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	conf, err := u.tls()
	if err != nil {
		return err
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(conf)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithUserAgent("shutterfleet-agent/" + u.opts.Version),
	}
	if u.opts.Dial != nil {
		opts = append(opts, grpc.WithContextDialer(u.opts.Dial))
	}
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		err := u.connect(ctx, opts)
		u.setConnected(false)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted
		}
		if time.Since(began) > maxRedial {
			failures = 0
		}
		wait := mrand.N(min(minRedial<<min(failures, 20), maxRedial)) // capped, full jitter
		failures++
		u.note(ctx, err, wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return nil
}

// note logs a lasting fault as it begins.
func (u *Uplink) note(ctx context.Context, err error, wait time.Duration) {
	u.mu.Lock()
	before := u.refused
	u.refused = err
	u.mu.Unlock()
	if before == nil || before.Error() != err.Error() {
		u.log.WarnContext(ctx, "no stream to the centre", "server", u.opts.Server, "err", err, "retry_in", wait)
	}
}

func (u *Uplink) setConnected(on bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.connected = on
	if on {
		u.refused = nil
	}
}

// connect dials, speaks until the stream ends, and says why it did. The
// connection is closed each time: a dial after an outage begins fresh.
func (u *Uplink) connect(ctx context.Context, opts []grpc.DialOption) error {
	conn, err := grpc.NewClient("passthrough:///"+u.opts.Server, opts...)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := wire.NewAgentsClient(conn).Link(ctx)
	if err != nil {
		return fromStatus(err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	orders, pending := u.node.Counts()
	hello := &wire.Hello{WireVersion: wire.Version, Version: u.opts.Version, Hostname: host, Nonce: u.node.Nonce(), OrdersHeld: uint64(orders), OutboxPending: uint64(pending)}
	for _, c := range u.opts.Codecs {
		hello.Codecs = append(hello.Codecs, string(c))
	}
	if err := stream.Send(&wire.FromAgent{Body: &wire.FromAgent_Hello{Hello: hello}}); err != nil {
		return lastError(stream, err)
	}
	first, err := stream.Recv()
	if err != nil {
		return fromStatus(err)
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return errors.New("the centre did not begin with a Welcome")
	}
	u.node.ThumbnailEvery(time.Duration(welcome.GetThumbnailEveryMs()) * time.Millisecond)
	u.setConnected(true)
	u.log.InfoContext(ctx, "connected to the centre", "server", u.opts.Server, "site", welcome.GetSite())

	s := &session{u: u, stream: stream, out: make(chan *wire.FromAgent), reports: map[uint64]sent{}, window: make(chan struct{}, 1), inFlight: map[int64]bool{}}
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context) error{s.write, s.read, s.report, s.thumbnails, s.inventory, s.beat} {
		wg.Go(func() {
			if err := loop(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return cmp.Or(context.Cause(ctx), errors.New("the stream ended"))
}

// lastError finds why Send failed: gRPC tells it to the reader.
func lastError(stream wire.Agents_LinkClient, err error) error {
	if _, rerr := stream.Recv(); rerr != nil {
		return fromStatus(rerr)
	}
	return err
}

// session is one stream at work.
type session struct {
	u      *Uplink
	stream wire.Agents_LinkClient
	out    chan *wire.FromAgent // unbuffered: all writers meet here

	mu       sync.Mutex
	reports  map[uint64]sent // by batch, until acknowledged
	inFlight map[int64]bool  // rows in them
	window   chan struct{}   // cap 1: a report was acknowledged
	batch    uint64
}

// sent is a report on its way.
type sent struct {
	rows []int64
	at   time.Time
}

func (s *session) send(ctx context.Context, m *wire.FromAgent) error {
	select {
	case s.out <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write is the only sender. When ctx ends it closes the stream in order.
func (s *session) write(ctx context.Context) error {
	for {
		select {
		case m := <-s.out:
			if err := s.stream.Send(m); err != nil {
				return nil //nolint:nilerr // the reader learns why
			}
		case <-ctx.Done():
			return s.stream.CloseSend()
		}
	}
}

func (s *session) read(ctx context.Context) error {
	for {
		m, err := s.stream.Recv()
		received := time.Now()
		if err != nil {
			return fromStatus(err)
		}
		if err := s.take(ctx, m, received); err != nil {
			return err
		}
	}
}

func (s *session) take(ctx context.Context, m *wire.FromCentre, received time.Time) error {
	switch b := m.GetBody().(type) {
	case *wire.FromCentre_Signed:
		return s.instruction(ctx, b.Signed)
	case *wire.FromCentre_ReportStored:
		s.mu.Lock()
		rows := s.reports[b.ReportStored.GetBatch()].rows
		delete(s.reports, b.ReportStored.GetBatch())
		for _, row := range rows {
			delete(s.inFlight, row)
		}
		s.mu.Unlock()
		if err := s.u.node.Ack(ctx, rows); err != nil {
			s.u.log.WarnContext(ctx, "acknowledged outcomes stay on disk for now", "err", err)
		}
		poke(s.window)
	case *wire.FromCentre_ClockAnswer:
		a := b.ClockAnswer
		s.u.clock.measured(time.Unix(0, a.GetT1()), time.Unix(0, a.GetT2()), time.Unix(0, a.GetT3()), received)
	}
	return nil
}

// instruction checks and takes one instruction. One that fails the checks is
// not executed and not answered; a bad signature ends the stream.
func (s *session) instruction(ctx context.Context, signed *wire.Signed) error {
	u := s.u
	if !ed25519.Verify(u.opts.Identity.OrderKey, append([]byte(wire.SigningContext), signed.GetInstruction()...), signed.GetSignature()) {
		return errors.New("an instruction's signature is wrong")
	}
	var in wire.Instruction
	if err := proto.Unmarshal(signed.GetInstruction(), &in); err != nil {
		return fmt.Errorf("instruction: %w", err)
	}
	if fleet.AgentID(in.GetAgent()) != u.opts.Identity.Agent {
		return fmt.Errorf("an instruction is for %s", in.GetAgent())
	}
	if fleet.Instant(in.GetExpiresMs()) < fleet.At(u.clock.Now()) {
		u.log.WarnContext(ctx, "expired instruction refused: does this box's clock run ahead?", "expires", fleet.Instant(in.GetExpiresMs()), "nonce", in.GetNonce())
		return nil
	}
	err := s.execute(ctx, &in)
	switch {
	case errors.Is(err, ErrRefused):
		u.log.WarnContext(ctx, "instruction refused", "nonce", in.GetNonce(), "err", err)
		return nil
	case err != nil:
		return err
	}
	return s.send(ctx, &wire.FromAgent{Body: &wire.FromAgent_OrdersStored{OrdersStored: &wire.OrdersStored{Nonce: in.GetNonce()}}})
}

func (s *session) execute(ctx context.Context, in *wire.Instruction) error {
	node := s.u.node
	switch b := in.GetBody().(type) {
	case *wire.Instruction_Orders:
		orders, err := wire.ParseOrders(b.Orders.GetPacked())
		if err != nil {
			return err
		}
		return node.Orders(ctx, orders, in.GetNonce(), in.GetFence())
	case *wire.Instruction_Recall:
		orders, err := wire.ParseOrders(b.Recall.GetPacked())
		if err != nil {
			return err
		}
		keys := make([]fleet.Occurrence, len(orders))
		for i := range orders {
			keys[i] = orders[i].Occurrence
		}
		return node.Recall(ctx, keys, in.GetNonce(), in.GetFence())
	case *wire.Instruction_Cameras:
		var targets []fleet.Target
		for _, c := range b.Cameras.GetPut() {
			t := fleet.Target{Camera: fleet.CameraID(c.GetId()), Device: c.GetDevice(), Source: c.GetSource(), Credentials: logins(c.GetCredentials())}
			for _, e := range c.GetEndpoints() {
				t.Endpoints = append(t.Endpoints, fleet.Endpoint{Protocol: fleet.Protocol(e.GetProtocol()), URL: e.GetUrl()})
			}
			targets = append(targets, t)
		}
		return node.Cameras(ctx, targets, logins(b.Cameras.GetSiteCredentials()), in.GetNonce(), in.GetFence())
	}
	return fmt.Errorf("%w: this build does not know its kind", ErrRefused)
}

func logins(cs []*wire.Credential) (out []fleet.Credentials) {
	for _, c := range cs {
		out = append(out, fleet.Credentials{User: c.GetUser(), Password: fleet.Secret(c.GetPassword()), Version: c.GetVersion()})
	}
	return out
}

// report sends outcomes, newest first, a few batches ahead of their
// acknowledgements. What is not acknowledged in time is sent again: that the
// centre has it already changes nothing there.
func (s *session) report(ctx context.Context) error {
	for {
		m, wait := s.nextReport()
		if m != nil {
			_, pending := s.u.node.Counts()
			m.Pending = uint64(max(0, pending))
			if err := s.send(ctx, &wire.FromAgent{Body: &wire.FromAgent_Report{Report: m}}); err != nil {
				return err
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.u.outbox:
		case <-s.window:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// nextReport returns a report to send, or how long there is none.
func (s *session) nextReport() (*wire.Report, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Hour
	now := time.Now()
	for batch, r := range s.reports {
		left := s.u.opts.Resend - now.Sub(r.at)
		if left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(s.reports, batch)
		for _, row := range r.rows {
			delete(s.inFlight, row)
		}
	}
	if len(s.reports) >= batchWindow {
		return nil, wait
	}
	rows := s.u.node.Pending(batchRows, s.inFlight)
	if len(rows) == 0 {
		return nil, wait
	}
	s.batch++
	m := &wire.Report{Batch: s.batch}
	r := sent{rows: make([]int64, len(rows)), at: now}
	for i, o := range rows {
		r.rows[i] = o.Row
		s.inFlight[o.Row] = true
		m.Packed = append(m.Packed, o.Packed...)
	}
	s.reports[s.batch] = r
	return m, 0
}

func (s *session) thumbnails(ctx context.Context) error {
	for {
		for {
			t, ok := s.u.node.Thumbnail()
			if !ok {
				break
			}
			if err := s.send(ctx, &wire.FromAgent{Body: &wire.FromAgent_Thumbnail{Thumbnail: &wire.Thumbnail{
				Camera: uint64(t.Occurrence.Camera), Schedule: uint64(t.Occurrence.Schedule), NominalMs: int64(t.Occurrence.Nominal), AtMs: int64(t.At), Jpeg: t.JPEG,
			}}}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.u.thumbs:
		}
	}
}

func (s *session) inventory(ctx context.Context) error {
	for {
		m := &wire.Inventory{}
		for _, d := range s.u.node.Devices() {
			b, err := json.Marshal(d)
			if err != nil {
				return fmt.Errorf("inventory: %w", err)
			}
			m.Devices = append(m.Devices, b)
		}
		if len(m.Devices) > 0 {
			if err := s.send(ctx, &wire.FromAgent{Body: &wire.FromAgent_Inventory{Inventory: m}}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.u.inventory:
		}
	}
}

// beat measures the clock, four times quickly and then now and again, and tells
// what the agent bears.
func (s *session) beat(ctx context.Context) error {
	probe := time.NewTimer(0)
	defer probe.Stop()
	load := time.NewTicker(loadEvery)
	defer load.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-probe.C:
			if err := s.send(ctx, &wire.FromAgent{Body: &wire.FromAgent_ClockProbe{ClockProbe: &wire.ClockProbe{T1: time.Now().UnixNano()}}}); err != nil {
				return err
			}
			next := probeEvery
			if n++; n < 4 {
				next = 250 * time.Millisecond
			}
			probe.Reset(next)
		case <-load.C:
			orders, pending := s.u.node.Counts()
			if err := s.send(ctx, &wire.FromAgent{Body: &wire.FromAgent_Load{Load: &wire.Load{OrdersHeld: uint64(orders), OutboxPending: uint64(pending)}}}); err != nil {
				return err
			}
		}
	}
}

// Errors that the centre's codes come back as.
var (
	ErrNotAllowed = errors.New("the centre does not let this agent in")
	ErrSuperseded = errors.New("another agent runs under this identity")
)

func fromStatus(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.PermissionDenied, codes.Unauthenticated, codes.NotFound:
		return fmt.Errorf("%w: %s", ErrNotAllowed, s.Message())
	case codes.Aborted:
		return fmt.Errorf("%w: %s", ErrSuperseded, s.Message())
	}
	return errors.New(s.Message())
}
